import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { removePaths } from '../../src/steps/remove.ts'

test('folders, files and links go, and what a link leads to stays; nothing there is no error', async t => {
  const dir = await mkdtemp(join(tmpdir(), 'remove-'))
  t.after(() => rm(dir, { recursive: true, force: true }))
  await mkdir(join(dir, 'kept'))
  await writeFile(join(dir, 'kept/file'), '')
  await mkdir(join(dir, 'work/deep'), { recursive: true })
  await symlink(join(dir, 'kept'), join(dir, 'work/deep/link'))
  await symlink(join(dir, 'kept'), join(dir, 'link'))
  await writeFile(join(dir, '-rf'), '')
  await removePaths(join(dir, 'work'), join(dir, 'link'), join(dir, '-rf'), join(dir, 'absent'))
  await removePaths()
  assert.deepEqual([await readdir(dir), await readdir(join(dir, 'kept'))], [['kept'], ['file']])
})

test('what cannot be removed is an error that says why', async () => {
  await assert.rejects(removePaths('/proc/version'), { code: 'WORK_FOLDER', message: /\/proc\/version/ })
})
