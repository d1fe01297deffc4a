import assert from 'node:assert/strict'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { stripVTControlCharacters } from 'node:util'
import { execa } from 'execa'
import { repositoryRoot } from '../../image/builder/repository.ts'
import { UPDATE_MS } from './fleet.ts'

test('the demo on the image ends well without a terminal, and leaves nothing behind', async t => {
  const dir = await mkdtemp(join(tmpdir(), 'demo-qemu-'))
  t.after(() => rm(dir, { recursive: true, force: true }))
  const options = { env: { TMPDIR: dir }, reject: false, stdin: 'ignore', timeout: 2 * UPDATE_MS } as const
  const { exitCode, stdout, stderr } = await execa(join(repositoryRoot(), 'scripts/demo'), ['--qemu'], options)
  console.log(stdout.replaceAll(/^/gm, '# '))
  assert.equal(exitCode, 0, `${stdout}\n${stderr}`)
  assert.equal(stripVTControlCharacters(stdout), stdout)
  for (const words of [
    /make +root file system/,
    /boot +slot a: committed \(power on\)/,
    /boot +slot b: trial, 2 more tries \(restart\)/,
    /twin +state 0, result 700, extended 00000000, installed pi 2\.0\.0/,
    /version before → after +1\.0\.0 → 2\.0\.0/,
    /✔ the device is on and connected/,
    /✔ it runs system 2\.0\.0 from slot b/,
    /✔ slot b is primary, no trial is open/,
    /✔ the twin says: applied, installed 2\.0\.0/,
  ]) {
    assert.match(stdout, words)
  }
  assert.doesNotMatch(stdout, /✘/)
  assert.deepEqual(await readdir(dir), [])
})
