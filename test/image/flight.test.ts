import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { repositoryRoot } from '../../image/builder/repository.ts'
import { MAX_FLIGHT, readFlight } from '../../src/domain/flight.ts'

const home = mkdtempSync(join(tmpdir(), 'flight-'))
after(() => rmSync(home, { recursive: true, force: true }))

/** The data partition, as the initramfs sees it. */
class Partition {
  readonly dir = mkdtempSync(join(home, 'data-'))
  readonly key = join(this.dir, 'flight.key')
  readonly boots = join(this.dir, 'boots')
  readonly pstore = join(this.dir, 'pstore')

  run(script: string): string {
    const file = join(repositoryRoot(), 'image/initramfs/flight')
    const { status, stdout, stderr } = spawnSync('sh', [
      '-c',
      `. "$0"; ${script}`,
      file,
      this.dir,
      this.key,
      this.pstore,
    ])
    assert.equal(stderr.toString(), '')
    assert.equal(status, 0)
    return stdout.toString().trim()
  }

  boot(id: string): void {
    this.run(`flight_boot "$1" "$2" ${id} 0; flight_add "$1" "initramfs 3.10"; flight_reached "$1" root`)
  }

  get text(): string {
    return existsSync(this.boots) ? readFileSync(this.boots, 'utf8') : ''
  }
}

test('two boots of a trial, and how each ended, as the agent reads them', () => {
  const data = new Partition()
  writeFileSync(data.key, 'abc-1\n')
  data.boot('one')
  data.run('flight_end "$1" panic "Attempted to kill init! exitcode=0x00000100"')
  data.boot('two')
  data.run('flight_end "$1" watchdog ""; flight_end "$1" unknown ""')
  const flight = readFlight([data.text], 'abc-1')
  assert.deepEqual(
    flight?.map(({ id, end, milestones }) => [id, end, milestones.map(({ name }) => name)]),
    [
      ['one', { how: 'panic', text: 'Attempted to kill init! exitcode=0x00000100' }, ['initramfs', 'root']],
      ['two', { how: 'watchdog', text: '' }, ['initramfs', 'root']],
    ],
  )
})

test('another trial starts the record over, and takes nothing of the kernel along', () => {
  const data = new Partition()
  writeFileSync(data.key, 'abc-1\n')
  data.boot('one')
  writeFileSync(join(data.dir, 'kernel'), 'old')
  writeFileSync(data.key, 'abc-2\n')
  data.boot('two')
  assert.equal(readFlight([data.text], 'abc-1'), undefined)
  assert.deepEqual(
    readFlight([data.text], 'abc-2')?.map(({ id }) => id),
    ['two'],
  )
  assert.equal(existsSync(join(data.dir, 'kernel')), false)
})

test('a key that is missing, no key, a folder, or a link to one is no record', () => {
  for (const make of [
    () => {},
    (key: string) => writeFileSync(key, 'root:x:0:0:root:/root:/bin/sh\n'),
    (key: string) => writeFileSync(key, `${'a'.repeat(70)}\n`),
    (key: string) => writeFileSync(key, ''),
    (key: string) => mkdirSync(key),
    (key: string) => symlinkSync('/etc', key),
    (key: string) => spawnSync('mkfifo', [key]),
  ]) {
    const data = new Partition()
    make(data.key)
    data.boot('one')
    assert.equal(data.text, '')
  }
})

test('a line that a power cut has torn spoils no other, and the record does not grow for ever', () => {
  const data = new Partition()
  writeFileSync(data.key, 'abc-1\n')
  data.boot('one')
  appendFileSync(data.boots, 'init 7.1')
  data.run('flight_reached "$1" later')
  assert.match(data.text, /\ninit 7\.1\nlater \d/)
  data.run('n=0; while [ $n -lt 300 ]; do n=$((n + 1)); flight_add "$1" "init 7.0 $(printf %0100d 1)"; done')
  assert.ok(data.text.length < MAX_FLIGHT, `${data.text.length}`)
})

test('what the kernel said in a panic is printed once, and its last words are kept', () => {
  const data = new Partition()
  mkdirSync(data.pstore)
  assert.equal(data.run('flight_kernel "$1" "$3"'), '')
  const panic = 'Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100'
  const lines = ['Panic#1 Part1', '<6>[    1.0] hello', `<0>[    4.2] ${panic}`, `<0>[    4.3] ---[ end ${panic} ]---`]
  writeFileSync(join(data.pstore, 'dmesg-ramoops-0'), `${lines.join('\n')}\n`)
  assert.equal(data.run('flight_kernel "$1" "$3"'), 'Attempted to kill init! exitcode=0x00000100')
  assert.match(readFileSync(join(data.dir, 'kernel'), 'utf8'), /hello/)
  assert.equal(data.run('flight_kernel "$1" "$3"'), '')
})
