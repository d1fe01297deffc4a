import assert from 'node:assert/strict'
import test from 'node:test'
import { retries, retrying } from '../../src/timing/retrying.ts'
import { VirtualClock } from './virtual-clock.ts'

const never = new AbortController().signal

/** A pause of as many seconds as there were failures in a row, up to three of them. */
const policy = (log: string[] = []) => ({
  pause: (_: unknown, failures: number) => (failures > 3 ? undefined : failures * 1000),
  onRetry: (error: unknown, pause: number) => void log.push(`${(error as Error).message} ${pause}`),
})

/** Lets time pass until `work` has ended. */
async function settled<T>(clock: VirtualClock, work: Promise<T>): Promise<T> {
  let over = false
  const end = () => {
    over = true
  }
  work.then(end, end)
  await clock.passUntil(() => over, 86_400_000)
  return work
}

test('gives what the first success gives, after pauses that grow', async () => {
  const clock = new VirtualClock()
  const log: string[] = []
  let tries = 0
  const work = async () => {
    tries += 1
    if (tries < 3) throw new Error(`no ${tries}`)
    return tries
  }
  assert.equal(await settled(clock, retrying(work, policy(log), clock, never)), 3)
  assert.deepEqual(log, ['no 1 1000', 'no 2 2000'])
  assert.equal(clock.monotonic(), 3000)
})

test('throws the error after which there is no next try, and what the policy throws', async () => {
  const clock = new VirtualClock()
  const failure = new Error('no')
  const work = async () => Promise.reject(failure)
  await assert.rejects(settled(clock, retrying(work, policy(), clock, never)), error => error === failure)
  assert.equal(clock.monotonic(), 6000)
  const late = new Error('late')
  const impatient = {
    ...policy(),
    pause: () => {
      throw late
    },
  }
  await assert.rejects(settled(clock, retrying(work, impatient, clock, never)), error => error === late)
})

test('a try that did work begins a new row', async () => {
  const clock = new VirtualClock()
  const log: string[] = []
  let tries = 0
  const work = async () => {
    tries += 1
    if (tries === 3) await clock.sleep(60_000, never)
    if (tries < 5) throw new Error(`no ${tries}`)
  }
  const hasWorked = (milliseconds: number) => milliseconds >= 60_000
  await settled(clock, retrying(work, { ...policy(log), hasWorked }, clock, never))
  assert.deepEqual(log, ['no 1 1000', 'no 2 2000', 'no 3 1000', 'no 4 2000'])
  const failed = retries(policy(log), clock, never)
  await settled(clock, failed(new Error('x')))
  await settled(clock, failed(new Error('y'), true))
  assert.deepEqual(log.slice(4), ['x 1000', 'y 1000'])
})

test('news end a pause soon, and begin a new row; after a short pause they change nothing', async () => {
  const clock = new VirtualClock()
  const log: string[] = []
  const pauses = [600_000, 1000]
  // The first pause is told of after a minute, the second after half a second.
  const after = [60_000, 500]
  const counts: number[] = []
  const failed = retries(
    {
      pause: (_, failures) => {
        counts.push(failures)
        return pauses.shift() ?? 5000
      },
      onRetry: (error, pause) => void log.push(`${(error as Error).message} ${pause}`),
      news: (_, stop) => (after.length > 0 ? clock.sleep(after.shift()!, stop) : undefined),
    },
    clock,
    never,
  )
  const waited: number[] = []
  for (const name of ['a', 'b', 'c', 'd']) {
    const begun = clock.monotonic()
    await settled(clock, failed(new Error(name)))
    waited.push(clock.monotonic() - begun)
  }
  // 6 s after the news: the back-off after four failures, with the dice of this clock.
  assert.deepEqual(waited, [66_000, 1000, 5000, 5000])
  assert.deepEqual(counts, [1, 1, 1, 2])
  assert.equal(clock.timers, 0)
})

test('ends with the reason of the signal, in a try as in a pause, and logs nothing then', async () => {
  const clock = new VirtualClock()
  const enough = new Error('enough')
  for (const [during, news] of [['try'], ['pause'], ['pause', true]] as const) {
    const stop = new AbortController()
    const log: string[] = []
    const work = async () => {
      if (during === 'try') stop.abort(enough)
      throw new Error('no')
    }
    const watching = { ...policy(log), news: (_: unknown, end: AbortSignal) => clock.sleep(60_000, end) }
    const running = retrying(work, news ? watching : policy(log), clock, stop.signal)
    running.catch(() => {})
    await new Promise(setImmediate)
    stop.abort(enough)
    await assert.rejects(settled(clock, running), error => error === enough)
    assert.equal(log.length, during === 'try' ? 0 : 1)
    assert.equal(clock.timers, 0)
  }
})
