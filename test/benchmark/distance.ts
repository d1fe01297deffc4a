import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { programEnvironment } from '../bench/workbench/program.ts'
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

/** Begins each line of progress of distance-run.js. */
export const PROGRESS = '- '

const ALONE = ['unshare', '--net', ...(process.getuid?.() === 0 ? [] : ['--map-root-user'])]

/**
 * In a network namespace, of which ours need not know. Errors: one line with the cause, where none can be made, or where it can have no
 * TUN device.
 */
export async function atADistance(
  rig: Rig,
  payload: Payload,
  rounds: number,
  say: (line: string) => void,
): Promise<Distance> {
  const own = fileURLToPath(new URL('distance-run.js', import.meta.url))
  const path = decodeURIComponent(new URL(payload.url).pathname.slice(1))
  const argv = [...ALONE, process.execPath, own, rig.bench.contentDir, `${rig.dir}/hub/certs`, path, String(rounds)]
  const child = spawn(argv[0]!, argv.slice(1), { env: programEnvironment, stdio: ['ignore', 'pipe', 'pipe'] })
  let out = ''
  let last = ''
  child.stdout.on('data', piece => {
    out += piece
  })
  // The lines of progress, then the cause of a failure, if there is one.
  createInterface({ input: child.stderr }).on('line', line => {
    last = line
    if (line.startsWith(PROGRESS)) say(line.slice(PROGRESS.length))
  })
  const [code] = await once(child, 'close')
  if (code !== 0) throw new Error(last || `${ALONE.join(' ')} failed with exit code ${code}`)
  return JSON.parse(out) as Distance
}
