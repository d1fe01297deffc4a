import assert from 'node:assert/strict'
import test from 'node:test'
import { throttled } from '../../src/delivery/throttle.ts'
import { VirtualClock } from './virtual-clock.ts'

const never = new AbortController().signal

/** Milliseconds that `pieces` take, and the most that came within any one second. */
async function run(pieces: readonly number[], bytesPerSecond: number, idle = 0) {
  const clock = new VirtualClock()
  const came: { at: number; bytes: number }[] = []
  async function* source(): AsyncGenerator<Buffer> {
    for (const [index, bytes] of pieces.entries()) {
      if (idle > 0 && index === 3) await clock.sleep(idle, never)
      came.push({ at: clock.monotonic(), bytes })
      yield Buffer.alloc(bytes)
    }
  }
  let over = false
  const reading = (async () => {
    for await (const _ of throttled(source(), bytesPerSecond, clock, never));
    over = true
  })()
  await clock.passUntil(() => over, 10_000_000)
  await reading
  const within = came.map(({ at }) =>
    came.filter(other => other.at >= at && other.at < at + 1000).reduce((sum, { bytes }) => sum + bytes, 0),
  )
  return { ms: clock.monotonic(), busiest: Math.max(...within) }
}

test('keeps to the rate on average, and asks for no more than it lets through', async () => {
  const { ms, busiest } = await run(Array(40).fill(25_000), 100_000)
  assert.equal(Math.round(ms), 10_000)
  assert.ok(busiest <= 125_000, `${busiest} bytes in one second`)
})

test('a pause of the network is made up for by no more than a second', async () => {
  const { ms, busiest } = await run(Array(40).fill(25_000), 100_000, 60_000)
  assert.ok(ms >= 60_000 + 9_000 - 1_000, `${ms} ms`)
  assert.ok(busiest <= 225_000, `${busiest} bytes in one second`)
})

test('abort ends the wait', async () => {
  const stop = new AbortController()
  const clock = new VirtualClock()
  async function* source(): AsyncGenerator<Buffer> {
    yield Buffer.alloc(1_000_000)
    yield Buffer.alloc(1)
  }
  const pieces = throttled(source(), 1, clock, stop.signal)
  await pieces.next()
  const second = pieces.next()
  setImmediate(() => stop.abort(new Error('enough')))
  await assert.rejects(second, { message: 'enough' })
})
