import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Publisher } from '../../src/control/publisher.ts'
import { readEvent, readLoggedEvent } from '../../src/view/event.ts'
import { aLog } from './support.ts'

test('an event is logged under its own name and level, told with a number, and kept unless it is progress', () => {
  const { log, lines } = aLog()
  const publisher = new Publisher(log)
  publisher.tell({ event: 'activated', slot: 'b' })
  publisher.tell({ event: 'install.progress', bytes: 1 })
  publisher.tell({ event: 'fall-back', why: 'no', code: '32100004' })
  assert.deepEqual(lines, [
    ['info', 'activated', { slot: 'b' }],
    ['debug', 'install.progress', { bytes: 1 }],
    ['warn', 'fall-back', { why: 'no', code: '32100004' }],
  ])
  const kept = publisher.recent(0)
  assert.deepEqual(
    kept.map(({ n, event }) => [n, event]),
    [
      [1, 'activated'],
      [3, 'fall-back'],
    ],
  )
  for (const event of kept) assert.deepEqual(readEvent(JSON.parse(JSON.stringify(event))), event)
  for (let i = 0; i < 300; i++) publisher.tell({ event: 'activated', slot: 'b' })
  assert.equal(publisher.recent(0).length, 100)
  assert.equal(publisher.recent(302).at(0)?.n, 303)
})

test('nothing secret leaves it, whatever text it stands in', () => {
  const publisher = new Publisher(aLog().log, { secrets: ['my-secret-key'] })
  publisher.tell({
    event: 'hub.lost',
    why: 'https://x/?sig=abcdef my-secret-key SharedAccessKey=c2VjcmV0',
    retryInMs: 1,
  })
  for (const text of [JSON.stringify(publisher.view), JSON.stringify(publisher.recent(0))]) {
    assert.doesNotMatch(text, /abcdef|my-secret-key|c2VjcmV0/)
  }
})

test('a watcher that throws is not called again, and disturbs nobody', () => {
  const { log, lines } = aLog()
  const publisher = new Publisher(log)
  let calls = 0
  const seen: string[] = []
  publisher.watch({
    onEvent() {
      calls += 1
      throw new Error('mine')
    },
  })
  publisher.watch({ onEvent: ({ event }) => void seen.push(event) })
  publisher.tell({ event: 'hub.connected' })
  publisher.tell({ event: 'activated', slot: 'a' })
  assert.deepEqual([calls, seen], [1, ['hub.connected', 'activated']])
  assert.deepEqual(
    lines.filter(([level]) => level === 'error'),
    [['error', 'watcher.failed', { why: 'mine' }]],
  )
})

test('a line of the log is read as the event that it is, and other lines are not', () => {
  const time = '2026-11-26T14:05:59.000Z'
  const line = { time, level: 'info', event: 'activated', slot: 'b' }
  assert.deepEqual(readLoggedEvent(line), { time, event: 'activated', slot: 'b' })
  const others = [undefined, null, 7, {}, { ...line, slot: 'c' }, { ...line, event: 'units.failed' }]
  for (const other of [...others, { ...line, event: '__proto__' }]) assert.equal(readLoggedEvent(other), undefined)
})
