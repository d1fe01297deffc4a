import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { AgentState } from '../../src/adapters/files/agent-state.ts'
import { RememberingJournal, readSlotMemory } from '../../src/adapters/slot/slot-memory.ts'
import { Publisher } from '../../src/control/publisher.ts'
import { type Attempt, JOURNAL_FORMAT } from '../../src/domain/attempt.ts'
import type { Log } from '../../src/ports/log.ts'
import { NOTHING } from '../../src/view/view.ts'
import { damagedAnywhere } from '../workflow/memory-disk.ts'

const dir = await mkdtemp(join(tmpdir(), 'state-'))
after(() => rm(dir, { recursive: true }))

function aLog(): { log: Log; lines: string[] } {
  const lines: string[] = []
  const add = (event: string): void => void lines.push(event)
  return { log: { debug: add, info: add, warn: add, error: add }, lines }
}

test('what becomes of connections is told to shell scripts', async () => {
  const file = join(dir, 'agent.json')
  const { log } = aLog()
  const first = { agent: { version: '9.9', pid: process.pid, since: 1 } }
  const publisher = new Publisher(log, { secrets: ['verysecret'], first })
  const state = new AgentState(file, log)
  publisher.watch({ onView: view => state.show(view) })
  const seen = async () => JSON.parse(await readFile(file, 'utf8'))
  publisher.tell({ event: 'hub.lost', why: 'no way: SharedAccessKey=c2VjcmV0c2VjcmV0, verysecret', retryInMs: 1 })
  assert.deepEqual([(await seen()).pid, (await seen()).version], [process.pid, '9.9'])
  assert.deepEqual((await seen()).hub, { connected: false, since: null, why: 'no way: SharedAccessKey=…, …' })
  publisher.tell({ event: 'hub.connected' })
  assert.equal((await seen()).hub.connected, true)
  publisher.tell({ event: 'hub.lost', why: 'the link is gone', retryInMs: 1 })
  const { connected, why } = (await seen()).hub
  assert.deepEqual([connected, why], [false, 'the link is gone'])
  const { mtimeNs } = await stat(file, { bigint: true })
  publisher.tell({ event: 'install.begin', slot: 'b', file: 'a.swu' })
  assert.equal((await stat(file, { bigint: true })).mtimeNs, mtimeNs, 'only the connection is worth a write')
  state.end()
  assert.equal(existsSync(file), false)
})

test('a state that cannot be written is one line in the log, and nothing else', () => {
  const { log, lines } = aLog()
  const state = new AgentState('/no/such/folder/agent.json', log)
  state.show(NOTHING)
  state.show({ ...NOTHING, hub: { connected: true, since: 1, why: null } })
  state.end()
  assert.deepEqual(lines, ['state.not-written'])
})

test('a note on the slots that cannot be read or written costs nothing but the note', async () => {
  const attempt: Attempt = {
    ...{ format: JOURNAL_FORMAT, steps: [] },
    ...{ workflow: { action: 3, id: 'W1' }, fingerprint: 'F', installedCriteria: '2.0', installs: 1, reboots: 0 },
    ...{ installedTo: 'b', milestones: [], reported: false, origin: 'deviceUpdate' },
    times: { begun: '2026-01-01T00:00:00.000Z' },
  }
  const written: Attempt[] = []
  const journal = {
    read: async () => ({ is: 'none' }) as const,
    write: async (each: Attempt) => void written.push(each),
  }
  const boot = { read: async () => ({ booted: 'a', primary: 'a', trial: 'none', tries: 0 }) as const }
  const { log, lines } = aLog()
  await writeFile(join(dir, 'no-folder'), '')
  await new RememberingJournal(journal, boot, join(dir, 'no-folder/slots.json'), log).write(attempt)
  assert.deepEqual([written.length, lines], [1, ['slots.not-noted']])

  const file = join(dir, 'slots.json')
  await writeFile(file, '{"versions": 3}')
  const remembering = new RememberingJournal(journal, boot, file, log)
  await remembering.begin({ version: async () => '1.0' })
  await remembering.write(attempt)
  assert.deepEqual(await readSlotMemory(file), { versions: { a: '1.0', b: '2.0' } })
  // Cut off or turned anywhere, it says nothing; never something else.
  const good = await readFile(file)
  for (const { at, bad } of damagedAnywhere(good)) {
    await writeFile(file, bad)
    assert.deepEqual(await readSlotMemory(file), { versions: {} }, `byte ${at}`)
  }
  // What is known is written again; what a power cut left beside it is in nobody's way.
  await writeFile(`${file}.new`, good.subarray(0, 20))
  await remembering.begin({ version: async () => '1.0' })
  assert.deepEqual(await readSlotMemory(file), { versions: { a: '1.0' } })
  await remembering.write(attempt)
  assert.deepEqual(await readFile(file), good)
  const broken = { read: async () => Promise.reject(new Error('no boot state')) }
  await new RememberingJournal(journal, broken, file, log).write(attempt)
  assert.equal(written.length, 4)
})
