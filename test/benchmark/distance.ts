import { fileURLToPath } from 'node:url'
import { runProgram } from '../bench/workbench/program.ts'
import type { Payload, Rig } from './rig.ts'

/** Milliseconds for a whole file in ranges, and in one plain stream by curl, in turn. */
export interface Race {
  readonly ranged: readonly number[]
  readonly plain: readonly number[]
}

export interface Distance {
  /** Of TCP, by the kernel's name for it. */
  readonly congestionControl: string
  readonly clean: Race
  readonly lossy: Race
}

/** How the wires of the race are, for those who read its figures. */
export const WIRES =
  '50 ms there and back, 100 Mbit/s; 64 MiB without loss, 8 MiB with 1 % of all packets lost each way'

const ALONE = ['unshare', '--net', ...(process.getuid?.() === 0 ? [] : ['--map-root-user'])] as [string, ...string[]]

/** In a network namespace, of which ours need not know. Errors: where none can be made, or it can have no TUN device. */
export async function atADistance(rig: Rig, payload: Payload, rounds: number): Promise<Distance> {
  const own = fileURLToPath(new URL('distance-run.js', import.meta.url))
  const path = decodeURIComponent(new URL(payload.url).pathname.slice(1))
  const places = [rig.bench.contentDir, `${rig.dir}/hub/certs`, path, String(rounds)]
  const out = await runProgram([...ALONE, process.execPath, own, ...places])
  return JSON.parse(out.toString()) as Distance
}
