import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { FileWorkNotes } from '../../src/adapters/files/work-notes.ts'
import { damagedAnywhere } from '../workflow/memory-disk.ts'

const folder = await mkdtemp(join(tmpdir(), 'work-notes-'))
after(() => rm(folder, { recursive: true }))

const file = join(folder, 'work.json')
const events: string[] = []
const log = { debug() {}, info() {}, warn: (event: string) => void events.push(event), error() {} }
const notes = new FileWorkNotes(file, join(folder, 'cmdline'), log)
const begun = { abc: { starts: 1, boot: 'one' } }

test('notes are given back as they were written, with the boot that it is now', async () => {
  assert.deepEqual((await notes.read()).begun, {})
  await notes.write(begun)
  const { boot, begun: read } = await notes.read()
  assert.deepEqual(read, begun)
  assert.match(boot, /^[0-9a-f-]{36}/)
  await writeFile(join(folder, 'cmdline'), 'boot=7')
  assert.equal((await notes.read()).boot, `${boot}\n boot=7`)
})

test('notes that were cut off or turned at any byte are none, never others', async () => {
  await notes.write(begun)
  const good = await readFile(file)
  for (const { at, bad } of damagedAnywhere(good)) {
    events.length = 0
    await writeFile(file, bad)
    assert.deepEqual((await notes.read()).begun, {}, `byte ${at}`)
    assert.deepEqual(events, ['work.unreadable'])
  }
  await notes.write(begun)
  assert.deepEqual((await notes.read()).begun, begun)
})

test('a folder that cannot be written to is named', async () => {
  const blocked = new FileWorkNotes(join(file, 'work.json'), '', log)
  await assert.rejects(blocked.write(begun), { code: 'JOURNAL', message: /cannot write .*work\.json/ })
})
