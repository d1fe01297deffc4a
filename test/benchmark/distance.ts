import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { systemClock } from '../../src/adapters/clock.ts'
import { HttpContent } from '../../src/adapters/http.ts'
import { fetchFile } from '../../src/workflow/fetch.ts'
import { runProgram } from '../bench/workbench/program.ts'
import type { Payload, Rig } from './rig.ts'
import { slowWire } from './slow-wire.ts'

/** A round trip of 50 ms over 100 Mbit/s. */
export const WIRE = { delay: 25, bytesPerSecond: 12_500_000 }

/** Milliseconds for the whole file in ranges, and in one plain stream by curl, in turn. */
export async function atADistance(rig: Rig, payload: Payload, rounds: number) {
  const near = new URL(payload.url)
  const wire = slowWire(Number(near.port), WIRE)
  await new Promise<void>(resolve => wire.listen(0, '127.0.0.1', resolve))
  const url = `https://localhost:${(wire.address() as AddressInfo).port}${near.pathname}`
  const times = { ranged: [] as number[], plain: [] as number[] }
  try {
    for (let round = 0; round < rounds; round++) {
      times.ranged.push(await timed(() => inRanges(rig, url, payload)))
      times.plain.push(await timed(() => runProgram(['curl', '-sSf', '--cacert', rig.caFile, '-o', '/dev/null', url])))
    }
  } finally {
    wire.close()
  }
  return times
}

async function inRanges(rig: Rig, url: string, { bytes, update }: Payload): Promise<void> {
  const ca = await readFile(rig.caFile, 'utf8')
  const content = new HttpContent({ ca, stall: 60_000, httpProxy: undefined, httpsProxy: undefined, noProxy: [] })
  const log = { debug() {}, info() {}, warn() {}, error() {} }
  const options = { rangeBytes: 1 << 20, timeout: 3_600_000 }
  const hash = createHash('sha256')
  const file = fetchFile(
    { content, clock: systemClock, log },
    { url, size: bytes },
    options,
    new AbortController().signal,
  )
  for await (const piece of file) hash.update(piece)
  if (hash.digest('base64') !== update.files[0]?.sha256) throw new Error('the ranges do not make the file')
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const begun = performance.now()
  await work()
  return performance.now() - begun
}
