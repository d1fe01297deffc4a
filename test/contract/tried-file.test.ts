import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { TriedFile } from '../../src/adapters/files/tried-file.ts'
import { SILENT } from '../../src/ports/log.ts'

test('what a stick has brought outlives the process; a torn file counts as none, and a disk error is a JOURNAL error', async t => {
  const folder = await mkdtemp(join(tmpdir(), 'tried-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const file = join(folder, 'local-tried.json')
  const warned: string[] = []
  const log = { ...SILENT, warn: (event: string) => void warned.push(event) }
  const of = (path: string) => new TriedFile(path, log)
  assert.deepEqual(await of(file).read(), [])
  await of(file).write(['local a', 'local b'])
  assert.deepEqual(await of(file).read(), ['local a', 'local b'])
  await writeFile(file, (await readFile(file)).subarray(0, 10))
  assert.deepEqual([await of(file).read(), warned], [[], ['local.tried-unreadable']])
  const bad = join(folder, 'bad')
  await mkdir(bad)
  await assert.rejects(of(bad).read(), { code: 'JOURNAL' })
  await assert.rejects(of(bad).write([]), { code: 'JOURNAL' })
})
