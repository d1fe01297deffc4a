import { fileURLToPath } from 'node:url'
import { runProgram } from '../bench/workbench/program.ts'
import type { Payload, Rig } from './rig.ts'

/** What can bring a file from HTTPS into a Node process; our own client has to justify itself against the others. */
export const READERS = {
  own: 'the agent’s HTTP client, in ranges',
  https: 'node:https, one request',
  curl: 'curl through a pipe, one request',
} as const

export type Reader = keyof typeof READERS

/** Of one whole file that is read and dropped. */
export interface ReadFigures {
  readonly ms: number
  /** With programs that the reader has started, as in `peakMB`. */
  readonly cpuSeconds: number
  readonly peakMB: number
}

export type Reads = Readonly<Record<Reader, readonly ReadFigures[]>>

/** In turn, each in a process of its own with the agent's arguments for Node. */
export async function readWithEach(
  rig: Rig,
  payload: Payload,
  nodeArguments: readonly string[],
  rounds: number,
  say: (line: string) => void,
): Promise<Reads> {
  const program = fileURLToPath(new URL('reader-run.js', import.meta.url))
  const reads: Record<Reader, ReadFigures[]> = { own: [], https: [], curl: [] }
  for (let round = 0; round < rounds; round++) {
    for (const reader of Object.keys(READERS) as Reader[]) {
      const argv = [...nodeArguments, program, reader, payload.url, rig.caFile, String(payload.bytes)]
      const read = JSON.parse((await runProgram([process.execPath, ...argv])).toString()) as ReadFigures
      reads[reader].push(read)
      say(`round ${round + 1} of ${rounds}: ${READERS[reader]}: ${(read.ms / 1000).toFixed(2)} s`)
    }
  }
  return reads
}
