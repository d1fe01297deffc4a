import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { systemClock } from '../../src/adapters/clock.ts'
import { HttpContent } from '../../src/adapters/http.ts'
import { fetchFile } from '../../src/workflow/fetch.ts'
import { runProgram } from '../bench/workbench/program.ts'
import { startContentProcess } from './content-process.ts'
import type { Distance, Race } from './distance.ts'
import { farAway, farWire, type Wire } from './far-wire.ts'

// The race of distance.ts, in its own network namespace: distance-run.js FOLDER CERTIFICATES FILE ROUNDS
const [dir, certificates, path, count] = process.argv.slice(2) as [string, string, string, string]
const FAR = { delay: 25, bytesPerSecond: 12_500_000 }
const LOSSY_BYTES = 8 << 20

const caFile = join(certificates, 'ca.pem')
const ca = await readFile(caFile, 'utf8')
const { size } = await stat(join(dir, path))
const content = await startContentProcess(dir, certificates)
const url = farAway(content.url(path))
const wire = await farWire(Number(new URL(url).port))
const race = async (how: Wire, bytes: number, rounds: number): Promise<Race> => {
  const times = { ranged: [] as number[], plain: [] as number[] }
  for (let round = 0; round < rounds; round++) {
    wire.set(how)
    times.ranged.push(await timed(() => inRanges(bytes)))
    wire.set(how)
    times.plain.push(await timed(() => plain(bytes)))
  }
  return times
}
const CONTROL = '/proc/sys/net/ipv4/tcp_congestion_control'
// What most servers have. Others look at loss differently, and not everybody may choose.
await writeFile(CONTROL, 'cubic').catch(() => {})
const distance: Distance = {
  congestionControl: (await readFile(CONTROL, 'latin1')).trim(),
  clean: await race({ ...FAR, loss: 0 }, size, Number(count)),
  // Which packets are lost is chance, and weighs more than who asks for them.
  lossy: await race({ ...FAR, loss: 0.01 }, Math.min(size, LOSSY_BYTES), 5 * Number(count)),
}
console.log(JSON.stringify(distance))
await wire.stop()
await content.stop()

/** As the agent does it; a connection of its own each time, as for curl. */
async function inRanges(bytes: number): Promise<void> {
  const content = new HttpContent({ ca, stall: 60_000, httpProxy: undefined, httpsProxy: undefined, noProxy: [] })
  const log = { debug() {}, info() {}, warn() {}, error() {} }
  const options = { rangeBytes: 1 << 20, mostRangeBytes: 16 << 20, timeout: 3_600_000 }
  const stop = new AbortController()
  let seen = 0
  const file = fetchFile({ content, clock: systemClock, log }, { url, size, upTo: bytes }, options, stop.signal)
  for await (const piece of file) seen += piece.length
  stop.abort()
  if (seen !== bytes) throw new Error(`${seen} of ${bytes} bytes`)
}

async function plain(bytes: number): Promise<void> {
  await runProgram(['curl', '-sSf', '--cacert', caFile, '-r', `0-${bytes - 1}`, '-o', '/dev/null', url])
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const begun = performance.now()
  await work()
  return performance.now() - begun
}
