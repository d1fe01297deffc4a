import { fileURLToPath } from 'node:url'
import { execa, type Options } from 'execa'
import type { BenchHub } from '../bench/hub/hub.ts'

export const OPERATOR = fileURLToPath(new URL('../../src/operator/main.js', import.meta.url))

export interface Ran {
  readonly exitCode: number | undefined
  readonly stdout: string
  readonly stderr: string
}

/** Runs `pi-adu-operator` to its end; with a hub, through the bench's preload and with the owner's connection string. */
export async function operator(args: readonly string[], hub?: BenchHub, options: Options = {}): Promise<Ran> {
  const result = await execa('node', [OPERATOR, ...args], { ...operatorOptions(hub), ...options })
  return { exitCode: result.exitCode, stdout: String(result.stdout), stderr: String(result.stderr) }
}

export function operatorOptions(hub?: BenchHub): Options {
  const { IOTHUB_CONNECTION_STRING: _, ...base } = process.env
  const env = hub && {
    ...hub.childEnvironment(base),
    IOTHUB_CONNECTION_STRING: hub.serviceConnectionString,
  }
  return { reject: false, env: env ?? base, extendEnv: false, timeout: 120_000 }
}
