import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
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
import { customizeHooks } from '../../image/builder/debian.ts'
import { repositoryRoot } from '../../image/builder/repository.ts'

const home = mkdtempSync(join(tmpdir(), 'hooks-'))
after(() => rmSync(home, { recursive: true, force: true }))

test('hooks of mmdebstrap take any path', () => {
  const dir = join(home, `it's a "cache"; touch $HOME\\ & \`x\``)
  mkdirSync(dir)
  // In place of the programs that the hooks call: they print their arguments.
  const bin = join(home, 'bin')
  mkdirSync(bin)
  for (const name of ['chroot', 'copy-in', 'download']) {
    writeFileSync(join(bin, name), `#!/bin/sh\nprintf '%s\\n' "$@"\n`)
    chmodSync(join(bin, name), 0o755)
  }
  const tree = join(dir, 'root')
  mkdirSync(tree)
  const [folder = '', copy = '', users = '', list = '', download = '', remove = ''] = customizeHooks(
    join(dir, 'pi-adu.conf'),
    join(dir, 'versions.txt'),
  )
  const sh = (line: string): string =>
    execFileSync('sh', ['-c', line, 'sh', tree], { encoding: 'utf8', env: { PATH: `${bin}:/usr/bin:/bin` } })
  sh(folder)
  assert.ok(existsSync(join(tree, 'usr/lib/sysusers.d')))
  rmSync(join(tree, 'usr'), { recursive: true })
  assert.equal(sh(copy), `${join(dir, 'pi-adu.conf')}\n/usr/lib/sysusers.d\n`)
  assert.equal(sh(users), `${tree}\nsystemd-sysusers\n/usr/lib/sysusers.d/pi-adu.conf\n`)
  sh(list)
  assert.match(readFileSync(join(tree, 'versions.txt'), 'utf8'), /^.*\ndpkg-query\n-W\n-f\n\$\{Package\}\\t/)
  assert.equal(sh(download), `/versions.txt\n${join(dir, 'versions.txt')}\n`)
  sh(remove)
  assert.deepEqual(readdirSync(tree), [])
})

test('no shell line of the image builder has a path pasted into it', () => {
  for (const folder of ['image/builder', 'image/qemu']) {
    for (const name of readdirSync(join(repositoryRoot(), folder))) {
      const text = readFileSync(join(repositoryRoot(), folder, name), 'utf8')
      assert.doesNotMatch(text, /'-c',\s*`[^`]*\$\{/, `${folder}/${name}`)
    }
  }
})
