import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, describe } from 'node:test'
import { execa } from 'execa'
import { FileJournal } from '../../src/adapters/journal.ts'
import type { Attempt } from '../../src/domain/deployment.ts'
import { FakeDevice } from '../workflow/fake-device.ts'

const folder = await mkdtemp(join(tmpdir(), 'journal-'))
after(() => rm(folder, { recursive: true }))

const events: string[] = []
const log = { debug() {}, info() {}, warn() {}, error: (event: string) => void events.push(event) }

const attempt: Attempt = {
  workflow: { action: 3, id: 'W1', retryTimestamp: '2026-01-01T00:00:00Z' },
  fingerprint: 'F1',
  updateId: { provider: 'contoso', name: 'toaster', version: '2.0.0' },
  installedCriteria: '2.0.0 "ä"',
  installs: 1,
  reboots: 0,
  installedTo: 'b',
  milestones: ['agent started'],
  cause: { extendedResultCode: 0x3210000d, details: 'x' },
  cancelledBy: 'C',
  result: { resultCode: 0, extendedResultCodes: [0xa0000fff], resultDetails: 'y', stepResultCode: 603 },
  reported: true,
}

let count = 0
for (const [name, make] of [
  ['the fake', () => new FakeDevice().plainPorts().journal],
  ['a file', () => new FileJournal(join(folder, `new-${count++}`, 'journal.json'), log)],
] as const) {
  describe(`Journal: ${name}`, () => {
    test('is empty at first', async () => assert.equal(await make().read(), undefined))

    test('gives back what was written last, in full', async () => {
      const journal = make()
      await journal.write({ ...attempt, installs: 0 })
      await journal.write(attempt)
      assert.deepEqual(await journal.read(), attempt)
    })
  })
}

describe('a file only', () => {
  const file = join(folder, 'journal.json')

  test('is for the agent alone, and leaves nothing beside it', async () => {
    await new FileJournal(join(folder, 'own', 'journal.json'), log).write(attempt)
    assert.equal((await stat(join(folder, 'own', 'journal.json'))).mode & 0o777, 0o600)
    assert.deepEqual(await readdir(join(folder, 'own')), ['journal.json'])
  })

  test('fields that a newer agent added are kept and harmless', async () => {
    await writeFile(file, JSON.stringify({ ...attempt, source: 'future', result: { ...attempt.result, more: 1 } }))
    assert.equal((await new FileJournal(file, log).read())?.installedTo, 'b')
  })

  for (const [name, text] of [
    ['empty', ''],
    ['cut off', JSON.stringify(attempt).slice(0, 60)],
    ['of another shape', '{"workflow":3}'],
    ['zeros', '\0'.repeat(4096)],
  ] as const) {
    test(`${name}: as none, logged, and can be written again`, async () => {
      await writeFile(file, text)
      events.length = 0
      const journal = new FileJournal(file, log)
      assert.equal(await journal.read(), undefined)
      assert.deepEqual(events, ['journal.unreadable'])
      await journal.write(attempt)
      assert.deepEqual(await journal.read(), attempt)
    })
  }

  test('a folder that cannot be written to is named', async () => {
    await mkdir(join(folder, 'blocked'))
    await writeFile(join(folder, 'blocked', 'file'), '')
    const journal = new FileJournal(join(folder, 'blocked', 'file', 'journal.json'), log)
    await assert.rejects(journal.write(attempt), {
      code: 'JOURNAL',
      message: /cannot write the journal .*journal\.json/,
    })
  })

  test('kill -9 at any moment leaves the old journal or the new one', async () => {
    const target = join(folder, 'killed', 'journal.json')
    const program = `
      import { FileJournal } from ${JSON.stringify(new URL('../../src/adapters/journal.js', import.meta.url).href)}
      const journal = new FileJournal(process.argv[1], { debug() {}, info() {}, warn() {}, error() {} })
      for (let installs = 1; ; installs++) await journal.write({ ...${JSON.stringify(attempt)}, installs })`
    let last = 0
    for (let round = 0; round < 12; round++) {
      const child = execa(process.execPath, ['--input-type=module', '-e', program, '--', target], { reject: false })
      while (!(await stat(target).catch(() => undefined))) await new Promise(resolve => setTimeout(resolve, 5))
      await new Promise(resolve => setTimeout(resolve, 60 + 17 * round))
      child.kill('SIGKILL')
      await child
      const read = await new FileJournal(target, log).read()
      assert.deepEqual(read, { ...attempt, installs: read?.installs })
      last = Math.max(last, read?.installs ?? 0)
      assert.ok(JSON.parse(await readFile(target, 'utf8')))
    }
    assert.ok(last > 1, 'the program wrote while it was killed')
  })
})
