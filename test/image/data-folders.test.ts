import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { linesOf } from '../../image/builder/data.ts'
import { repositoryRoot } from '../../image/builder/repository.ts'

const home = mkdtempSync(join(tmpdir(), 'data-folders-'))
after(() => rmSync(home, { recursive: true, force: true }))

// The owners of the image do not exist here: those of this machine take their place.
const me = `${process.getuid!()} ${process.getgid!()}`
const ROWS = ['0755 app', '0700 app/cache', '0750 app/cache/deep', '0755 app.new', '0711 log']

class Partition {
  readonly dir = mkdtempSync(join(home, 'data-'))
  readonly list = `${this.dir}.txt`
  constructor(rows: readonly string[] = ROWS) {
    const lines = rows.map(row => row.replace(' ', ` ${me} `))
    writeFileSync(this.list, `# comment\n\n${lines.join('\n')}\n`)
  }
  /** `before`: shell text in front of the function. */
  run(before = ''): void {
    const script = `${before}\n. "$0"; data_folders "$@"`
    const file = join(repositoryRoot(), 'image/initramfs/data-folders')
    spawnSync('sh', ['-c', script, file, this.list, this.dir], { stdio: 'ignore' })
  }
  get folders(): readonly string[] {
    const found = execFileSync('find', ['.', '-mindepth', '1', '-type', 'd', '-printf', '0%m %P\\n'], { cwd: this.dir })
    return found.toString().trim().split('\n').sort()
  }
}

test('every folder is made with its mode, children too', () => {
  const data = new Partition()
  data.run()
  assert.deepEqual(data.folders, [...ROWS].sort())
})

test('folders that are there keep their mode and content; a file in the place of one keeps none of the others', () => {
  const data = new Partition()
  mkdirSync(join(data.dir, 'app.new'))
  chmodSync(join(data.dir, 'app.new'), 0o777)
  writeFileSync(join(data.dir, 'app.new/file'), 'x')
  writeFileSync(join(data.dir, 'app'), 'x')
  data.run()
  assert.equal(statSync(join(data.dir, 'app.new')).mode & 0o777, 0o777)
  assert.deepEqual(readdirSync(join(data.dir, 'app.new')), ['file'])
  assert.equal(statSync(join(data.dir, 'app')).isFile(), true)
  assert.equal(statSync(join(data.dir, 'log')).mode & 0o777, 0o711)
})

test('after a power cut at any command each folder has its mode or is missing, and the next start completes them', () => {
  for (let at = 1; at <= ROWS.length * 4; at++) {
    const data = new Partition()
    const count = (name: string): string =>
      `${name}() { n=$((n + 1)); [ "$n" -lt ${at} ] || kill -9 $$; command ${name} "$@"; }`
    data.run(['n=0', ...['mkdir', 'chown', 'chmod', 'mv'].map(count)].join('\n'))
    const named = data.folders.filter(folder => folder !== '' && !folder.endsWith(' .new'))
    for (const folder of named) assert.ok(ROWS.includes(folder), `command ${at}: ${folder}`)
    assert.equal(named.length, Math.floor((at - 1) / 4))
    data.run()
    assert.deepEqual(data.folders, [...ROWS].sort(), `command ${at}`)
  }
})

test('the list of the image names each parent before its children', () => {
  const seen: string[] = []
  for (const [, , , path] of linesOf('data.txt').map(line => line.split(/\s+/))) {
    const parent = path!.split('/').slice(0, -1).join('/')
    assert.ok(parent === '' || seen.includes(parent), path)
    seen.push(path!)
  }
})
