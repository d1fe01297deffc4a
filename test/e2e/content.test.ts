import assert from 'node:assert/strict'
import type { Fault } from '../bench/content/faults.ts'
import { taken } from '../every.ts'
import { type Pi, type PiOptions, startRig } from './rig.ts'

/** What may go wrong between the content server and the slot. */

const rig = await startRig()
const two = await rig.system('2.0.0')
const file = two.files[0]!
const size = file.sizeInBytes
const path = rig.contentPath(two)
const { faults, stats } = rig.bench.content

/** Small ranges and short patience, so that a fault strikes several times in a short file. */
const hasty: PiOptions = { piAdu: { content: { rangeBytes: 1 << 20, stallSeconds: 0.5 } } }

interface Failure {
  readonly name: string
  readonly fault: Fault
  readonly code: string
  readonly details: RegExp
}

const failures: Failure[] = [
  { name: 'one byte is wrong', fault: { flipByteAt: 1 << 20 }, code: '4000000C', details: /SHA-256/ },
  { name: 'the last byte is wrong', fault: { flipByteAt: size - 1 }, code: '4000000C', details: /SHA-256/ },
  {
    name: 'truncated',
    fault: { truncateAt: size - 1000 },
    code: '32100003',
    details: /has \d+ bytes, not the expected \d+/,
  },
  { name: 'truncated, whole file', fault: { truncateAt: 1 << 20, noRanges: true }, code: '32100003', details: /bytes/ },
  { name: 'too long', fault: { extraBytes: 1 }, code: '32100003', details: /has \d+ bytes, not the expected \d+/ },
  { name: 'too long, whole file', fault: { extraBytes: 1 << 20, noRanges: true }, code: '32100003', details: /bytes/ },
  {
    name: 'endless, and of no known length',
    fault: { extraBytes: 'endless', noRanges: true },
    code: '32100003',
    details: /more than the \d+ bytes/,
  },
  { name: 'not found', fault: { status: 404 }, code: '40000005', details: /404 Not Found/ },
  { name: 'forbidden', fault: { status: 403 }, code: '40000005', details: /403 Forbidden/ },
  {
    name: 'another range than asked for',
    fault: { wrongRange: 'start' },
    code: '40000005',
    details: /a range that was not requested/,
  },
  {
    name: 'redirected for ever',
    fault: { redirect: rig.bench.content.url(path) },
    code: '40000005',
    details: /redirected more than/,
  },
  { name: 'redirected to a file', fault: { redirect: 'file:///etc/passwd' }, code: '40000005', details: /file:/ },
  {
    name: 'redirected from https to http',
    fault: { redirect: 'http://localhost:1/' },
    code: '40000005',
    details: /http:/,
  },
]

for (const { name, fault, code, details } of taken(failures)) {
  rig.test(`content: ${name}`, hasty, async pi => {
    faults[path] = fault
    await pi.expectResult(pi.deploy(two), { resultCode: 0, code, details, version: '1.0.0' })
    await stillGood(pi)
  })
}

const passing: { readonly name: string; readonly fault: Fault; readonly atLeast?: number }[] = [
  { name: '503 twice, with a wish', fault: { status: 503, retryAfter: 1, times: 2 }, atLeast: 3 },
  { name: 'the connection is cut three times', fault: { cutAfter: 300_000, times: 3 }, atLeast: 6 },
  { name: 'the server stalls once', fault: { stallAfter: 100_000, times: 1 }, atLeast: 5 },
  { name: 'no ranges', fault: { noRanges: true } },
  { name: 'tags that change with every answer', fault: { etag: 'changing' } },
  { name: 'no ranges, and a cut', fault: { noRanges: true, cutAfter: 2_000_000, times: 1 }, atLeast: 2 },
]

for (const { name, fault, atLeast = 1 } of taken(passing)) {
  rig.test(`content: ${name}, then all is well`, hasty, async pi => {
    const before = stats[path]?.requests ?? 0
    faults[path] = fault
    await succeeds(pi)
    assert.ok(stats[path]!.requests - before >= atLeast)
  })
}

rig.test('content: redirected once, for each range', hasty, async pi => {
  const elsewhere = await rig.bench.importBundle(file.path, '2.0.1')
  faults[path] = { redirect: rig.bench.content.url(rig.contentPath(elsewhere)) }
  await succeeds(pi)
  assert.ok(stats[rig.contentPath(elsewhere)]!.bytesSent >= size)
})

rig.test(
  'content: a server that is not there is waited for, and given up',
  { ...hasty, configure: shortTime },
  async pi => {
    const fileUrls = { [file.fileId]: 'https://localhost:1/x' }
    const wanted = { resultCode: 0, code: '32100006', details: /took longer than.*last: localhost:1: .*ECONNREFUSED/ }
    await pi.expectResult(pi.deploy(two, { fileUrls }), { ...wanted, version: '1.0.0' })
    await stillGood(pi)
  },
)

rig.test('content: a server that stalls again and again is given up', { ...hasty, configure: shortTime }, async pi => {
  faults[path] = { stallAfter: 1000 }
  const wanted = { resultCode: 0, code: '32100006', details: /took longer than.*no (byte for|answer within) 0.5 s/ }
  await pi.expectResult(pi.deploy(two), { ...wanted, version: '1.0.0' })
  await stillGood(pi)
})

rig.test(
  'content: a server with a certificate of nobody we know',
  { piAdu: { content: { caFile: '' } }, on: false },
  async pi => {
    await pi.configure(config => {
      shortTime(config)
      delete (config.piAdu as { content: { caFile?: string } }).content.caFile
    })
    await pi.switchOn()
    const wanted = { resultCode: 0, code: '32100006', details: /certificate/ }
    await pi.expectResult(pi.deploy(two), { ...wanted, version: '1.0.0' })
  },
)

/** Less than two seconds for the whole download. */
function shortTime(config: Record<string, unknown>): void {
  config.downloadTimeoutInMinutes = 0.03
}

async function succeeds(pi: Pi): Promise<void> {
  try {
    await pi.expectResult(pi.deploy(two), { resultCode: 700, version: '2.0.0' })
  } finally {
    delete faults[path]
  }
}

/** The agent that met the trouble takes the next good deployment. */
async function stillGood(pi: Pi): Promise<void> {
  const pid = await pi.events.pid()
  delete faults[path]
  assert.equal((await pi.events.all('agent.started')).length, 1)
  assert.equal(await pi.power.bootCount(), 1)
  await pi.expectResult(pi.deploy(two), { resultCode: 700, version: '2.0.0' })
  assert.notEqual(await pi.events.pid(), pid)
}
