import assert from 'node:assert/strict'
import { execFile, execFileSync, spawnSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { repositoryRoot } from '../../image/builder/repository.ts'

const home = mkdtempSync(join(tmpdir(), 'machine-id-'))
after(() => rmSync(home, { recursive: true, force: true }))

let folders = 0
function folder(content?: string): string {
  const dir = join(home, String(folders++))
  mkdirSync(dir)
  if (content !== undefined) writeFileSync(join(dir, 'machine-id'), content)
  return dir
}
const kept = (dir: string): string => readFileSync(join(dir, 'machine-id'), 'utf8')

const script = '. "$0"; machine_id "$@"'
const argv = (dir: string, source: string): string[] => [
  ...['-c', script, join(repositoryRoot(), 'image/initramfs/machine-id'), dir, source],
]
const machineId = (dir: string, source = '/dev/urandom'): string =>
  execFileSync('sh', argv(dir, source), { encoding: 'utf8' }).trim()

test('a machine id is drawn once', () => {
  const dir = folder()
  const id = machineId(dir)
  assert.match(id, /^[0-9a-f]{32}$/)
  assert.equal(kept(dir), `${id}\n`)
  assert.equal(machineId(dir), id)
  assert.notEqual(machineId(folder()), id)
  assert.deepEqual(readdirSync(dir), ['machine-id'])
})

test('nothing is drawn before the random generator is ready', async () => {
  const dir = folder()
  const source = join(dir, 'source')
  execFileSync('mkfifo', [source])
  const drawing = promisify(execFile)('sh', argv(dir, source))
  await sleep(500)
  assert.equal(existsSync(join(dir, 'machine-id')), false)
  writeFileSync(source, Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex'))
  assert.equal((await drawing).stdout, '000102030405060708090a0b0c0d0e0f\n')
  assert.equal(kept(dir), '000102030405060708090a0b0c0d0e0f\n')
})

test('a generator that never is ready costs one boot its id, and is asked again', () => {
  const dir = folder()
  assert.match(machineId(dir, '/dev/null'), /^[0-9a-f]{32}$/)
  assert.deepEqual(readdirSync(dir), [])
  assert.equal(`${machineId(dir)}\n`, kept(dir))
})

test('what is no machine id is replaced', () => {
  for (const content of [
    '',
    '\n',
    '0'.repeat(32),
    'f'.repeat(31),
    `${'f'.repeat(33)}\n`,
    'F'.repeat(32),
    '\0'.repeat(32),
  ]) {
    const dir = folder(content)
    const id = machineId(dir)
    assert.match(id, /^[0-9a-f]{32}$/)
    assert.equal(kept(dir), `${id}\n`, JSON.stringify(content))
  }
})

test('a machine id that cannot be read is not overwritten', () => {
  const dir = folder(`${'a'.repeat(32)}\n`)
  chmodSync(join(dir, 'machine-id'), 0)
  const plain = process.getuid?.() === 0 ? ['setpriv', '--bounding-set=-all', '--inh-caps=-all'] : []
  const [program, ...args] = [...plain, 'sh', ...argv(dir, '/dev/urandom')]
  const { stdout } = spawnSync(program!, args, { encoding: 'utf8' })
  assert.match(stdout, /^[0-9a-f]{32}\n$/)
  chmodSync(join(dir, 'machine-id'), 0o600)
  assert.equal(kept(dir), `${'a'.repeat(32)}\n`)
})
