import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { failInOneLine } from '../../image/builder/failure.ts'
import { HttpContent } from '../../src/adapters/http/content.ts'
import { systemClock } from '../../src/adapters/system/clock.ts'
import { fetchFile } from '../../src/delivery/fetch.ts'
import { runProgram } from '../bench/workbench/program.ts'
import { ANYWHERE } from '../http/anywhere.ts'
import { startContentProcess } from './content-process.ts'
import { type Distance, PROGRESS, type Race } from './distance.ts'
import { farAway, farWire, type Wire } from './far-wire.ts'

// The race of distance.ts, in its own network namespace: distance-run.js FOLDER CERTIFICATES FILE ROUNDS
failInOneLine('at a distance')
const [dir, certificates, path, count] = process.argv.slice(2) as [string, string, string, string]
const FAR = { delay: 25, bytesPerSecond: 12_500_000 }
const LOSSY_BYTES = 8 << 20

const caFile = join(certificates, 'ca.pem')
const ca = await readFile(caFile, 'utf8')
const { size } = await stat(join(dir, path))
const content = await startContentProcess(dir, certificates)
const url = farAway(content.url(path))
const wire = await farWire(Number(new URL(url).port))
const race = async (name: string, how: Wire, bytes: number, rounds: number): Promise<Race> => {
  const times = { ranged: [] as number[], plain: [] as number[] }
  for (let round = 0; round < rounds; round++) {
    wire.set(how)
    times.ranged.push(await timed(() => inRanges(bytes)))
    wire.set(how)
    times.plain.push(await timed(() => plain(bytes)))
    const [ranged, stream] = [times.ranged, times.plain].map(all => ((all.at(-1) ?? 0) / 1000).toFixed(2))
    console.error(`${PROGRESS}${name}, round ${round + 1} of ${rounds}: in ranges ${ranged} s, one stream ${stream} s`)
  }
  return times
}
const CONTROL = '/proc/sys/net/ipv4/tcp_congestion_control'
// What most servers have. Others look at loss differently, and not everybody may choose.
await writeFile(CONTROL, 'cubic').catch(() => {})
const distance: Distance = {
  congestionControl: (await readFile(CONTROL, 'latin1')).trim(),
  clean: await race('without loss', { ...FAR, loss: 0 }, size, Number(count)),
  // Which packets are lost is chance, and weighs more than who asks for them.
  lossy: await race('1 % lost', { ...FAR, loss: 0.01 }, Math.min(size, LOSSY_BYTES), 5 * Number(count)),
}
console.log(JSON.stringify(distance))
await wire.stop()
await content.stop()

/** As the agent does it; a connection of its own each time, as for curl. */
async function inRanges(bytes: number): Promise<void> {
  const content = new HttpContent({
    ca,
    stall: 60_000,
    httpProxy: undefined,
    httpsProxy: undefined,
    noProxy: [],
    hosts: ANYWHERE,
  })
  const log = { debug() {}, info() {}, warn() {}, error() {} }
  const options = { rangeBytes: 1 << 20, mostRangeBytes: 16 << 20, timeout: 3_600_000 }
  const stop = new AbortController()
  let seen = 0
  const file = fetchFile(
    { content, clock: systemClock, log },
    { url, origin: 'twin', size, upTo: bytes },
    options,
    stop.signal,
  )
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
