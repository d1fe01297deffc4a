import assert from 'node:assert/strict'
import test from 'node:test'
import { fetchFile } from '../../src/delivery/fetch.ts'
import { ContentError, type Retry } from '../../src/domain/errors.ts'
import type { Content, ContentPart } from '../../src/ports/content.ts'
import type { Network } from '../../src/ports/network.ts'
import { pseudoRandom } from '../bench/workbench/root-tree.ts'
import { VirtualClock } from './virtual-clock.ts'

const file = pseudoRandom(10_000, 'fetch')
const log = { debug() {}, info() {}, warn() {}, error() {} }

type Answer = (range: { first: number; last: number }) => Partial<ContentPart> & { bytes?: Buffer; cut?: boolean }

/** A server whose answers are told one by one; after the last it behaves. */
function server(...answers: readonly Answer[]): Content & { readonly asked: string[] } {
  const left = [...answers]
  const asked: string[] = []
  return {
    asked,
    async get(_url, range) {
      asked.push(`${range.first}-${range.last}`)
      const { bytes = file.subarray(range.first, range.last + 1), cut, ...part } = left.shift()?.(range) ?? {}
      async function* body(): AsyncGenerator<Buffer> {
        for (let at = 0; at < bytes.length; at += 700) yield bytes.subarray(at, at + 700)
        if (cut) throw new ContentError('connection reset', 'backOff')
      }
      return { first: range.first, last: range.last, total: file.length, etag: '"1"', body: body(), ...part }
    },
  }
}

/** All bytes, or the error; time passes as far as it has to. */
async function fetched(
  content: Content,
  {
    size = file.length,
    timeout = 3_600_000,
    signal = new AbortController().signal,
    ranges = { rangeBytes: 4096 },
    clock = new VirtualClock(),
    network,
  }: {
    size?: number
    timeout?: number
    signal?: AbortSignal
    ranges?: { rangeBytes: number; mostRangeBytes?: number }
    clock?: VirtualClock
    network?: Network
  } = {},
) {
  const chunks: Buffer[] = []
  let over = false
  const reading = (async () => {
    const source = fetchFile(
      { content, clock, log },
      { url: 'https://x/', origin: 'twin', size },
      { ...ranges, timeout, network },
      signal,
    )
    for await (const chunk of source) chunks.push(chunk)
  })().finally(() => {
    over = true
  })
  reading.catch(() => {})
  await clock.passUntil(() => over, 10 * timeout)
  await reading
  return { bytes: Buffer.concat(chunks), ms: clock.monotonic() }
}

test('asks for ranges and joins them', async () => {
  const content = server()
  assert.deepEqual((await fetched(content)).bytes, file)
  assert.deepEqual(content.asked, ['0-4095', '4096-8191', '8192-9999'])
})

test('ranges grow where the wire is fast, begin anew after a cut, and stay small where it is slow', async () => {
  const ranges = { rangeBytes: 1000, mostRangeBytes: 4000 }
  const cut: Answer = ({ first }) => ({ bytes: file.subarray(first, first + 500), cut: true })
  const fast = server(
    () => ({}),
    () => ({}),
    cut,
  )
  assert.deepEqual((await fetched(fast, { ranges })).bytes, file)
  // One is always asked for ahead.
  assert.deepEqual(fast.asked, [
    '0-999',
    '1000-1999',
    '2000-3999',
    '4000-7999',
    '2500-3499',
    '3500-4499',
    '4500-6499',
    '6500-9999',
  ])
  const clock = new VirtualClock()
  async function* trickle(bytes: Buffer): AsyncGenerator<Buffer> {
    await clock.sleep(100, new AbortController().signal)
    yield bytes
  }
  const slow = server(
    ...Array.from(
      { length: 10 },
      (): Answer =>
        ({ first, last }) => ({ body: trickle(file.subarray(first, last + 1)) }),
    ),
  )
  assert.deepEqual((await fetched(slow, { ranges, clock })).bytes, file)
  assert.equal(slow.asked.length, 10)
})

test('resumes at the exact byte after a cut, however many there are', async () => {
  const cutAfter =
    (bytes: number): Answer =>
    ({ first }) => ({ bytes: file.subarray(first, first + bytes), cut: true })
  const content = server(...Array.from({ length: 60 }, (_, i) => cutAfter(1 + i)))
  assert.deepEqual((await fetched(content)).bytes, file)
  // Each cut also loses what was asked for ahead.
  assert.deepEqual(content.asked.slice(0, 5), ['0-4095', '4096-8191', '1-4096', '4097-8192', '4-4099'])
})

test('an answer that ends early in good order is a cut too', async () => {
  const content = server(({ first }) => ({ bytes: file.subarray(first, first + 10) }))
  assert.deepEqual((await fetched(content)).bytes, file)
})

test('a server without ranges: what came already is dropped', async () => {
  const whole: Answer = () => ({ first: 0, last: file.length - 1, bytes: file })
  const content = server(({ first }) => ({ bytes: file.subarray(first, 100), cut: true }), whole)
  assert.deepEqual((await fetched(content)).bytes, file)
})

test('waits as long as the server asks', async () => {
  const content = server(() => {
    throw new ContentError('503', 120_000)
  })
  assert.ok((await fetched(content)).ms >= 120_000)
})

test('without progress the pauses grow, and it ends at the time limit with the last reason', async () => {
  const never = {
    asked: 0,
    async get(): Promise<ContentPart> {
      never.asked += 1
      throw new ContentError('getaddrinfo ENOTFOUND', 'backOff')
    },
  }
  await assert.rejects(fetched(never), { code: 'TIMED_OUT', message: /60 minutes.*ENOTFOUND/ })
  assert.ok(never.asked < 30, `${never.asked} requests in an hour are a storm`)
})

test('a 404 is final at once', async () => {
  const content = server(() => {
    throw new ContentError('the server answered 404 Not Found', 'never')
  })
  await assert.rejects(fetched(content), { code: 'DOWNLOAD_FAILED', message: /404/ })
  assert.equal(content.asked.length, 1)
})

test('a server that names another size is not believed for one byte', async () => {
  await assert.rejects(fetched(server(() => ({ total: 10_001 }))), { code: 'FILE_SIZE', message: /10001 bytes.*10000/ })
})

test('tags that differ from answer to answer: no range is asked for by tag any more, and the hash decides', async () => {
  const content = server(
    () => ({}),
    () => ({ etag: '"2"' }),
    () => ({ etag: 'W/"3"' }),
  )
  assert.deepEqual((await fetched(content)).bytes, file)
  assert.deepEqual(content.asked, ['0-4095', '4096-8191', '8192-9999'])
})

test('a server that answers with the whole file because its tag has changed: once, then in ranges', async () => {
  const content = server(
    () => ({}),
    () => ({ first: 0, last: file.length - 1, etag: '"2"', bytes: file }),
  )
  assert.deepEqual((await fetched(content)).bytes, file)
  assert.deepEqual(content.asked, ['0-4095', '4096-8191', '4096-8191', '8192-9999'])
})

test('answers that are shorter than asked for: the next one follows without a pause', async () => {
  const content = server(
    ...Array.from(
      { length: 3 },
      (): Answer =>
        ({ first, last }) => ({ last: Math.min(first + 4095, last), bytes: file.subarray(first, first + 4096) }),
    ),
  )
  const { bytes, ms } = await fetched(content, { ranges: { rangeBytes: 8192 } })
  assert.deepEqual(bytes, file)
  assert.deepEqual(content.asked, ['0-8191', '4096-9999', '8192-9999'])
  assert.equal(ms, 0)
})

test('a server that drips what was not asked for, or nothing at all, for ever: ends at the limit', async () => {
  for (const bytes of [Buffer.alloc(1), Buffer.alloc(0)]) {
    const clock = new VirtualClock()
    let aborted = false
    const content: Content = {
      async get(_url, { first }, signal) {
        async function* body(): AsyncGenerator<Buffer> {
          yield file.subarray(0, 10)
          while (!signal.aborted) {
            await clock.sleep(1000, signal).catch(() => {})
            yield bytes
          }
          aborted = true
          throw new ContentError('aborted', 'backOff')
        }
        // All of it, from the beginning, to whoever has most of it.
        return { first: first - 9000, last: undefined, total: undefined, etag: undefined, body: body() }
      },
    }
    const source = fetchFile(
      { content, clock, log },
      { url: 'https://x/', origin: 'twin', size: file.length, from: 9000 },
      { rangeBytes: 4096, timeout: 600_000 },
      new AbortController().signal,
    )
    const ended = assert.rejects(source.next(), { code: 'TIMED_OUT', message: /10 minutes: 9000 of 10000 bytes/ })
    let over = false
    ended.finally(() => {
      over = true
    })
    assert.ok(await clock.passUntil(() => over, 700_000))
    await ended
    assert.ok(aborted)
  }
})

test('a new network ends a pause soon, but not one that the server asked for', async () => {
  const clock = new VirtualClock()
  const network: Network = { watch: () => signal => clock.sleep(1000, signal) }
  const fails = (retry: Retry): Answer[] =>
    Array.from({ length: 9 }, () => () => {
      throw new ContentError('no', retry)
    })
  // Each is the first failure of a row: 6 s at most, with the dice of this clock, instead of minutes.
  assert.ok((await fetched(server(...fails('backOff')), { clock, network })).ms <= 9 * 7000)
  const { ms } = await fetched(server(...fails(100_000)), { network: { watch: () => async () => {} } })
  assert.ok(ms >= 900_000, `${ms}`)
})

test('abort ends it with the reason', async () => {
  const stop = new AbortController()
  const content = server(() => {
    stop.abort(new Error('enough'))
    throw new ContentError('aborted', 'backOff')
  })
  await assert.rejects(fetched(content, { signal: stop.signal }), { message: 'enough' })
})
