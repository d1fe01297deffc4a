import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { UsageError } from '../domain/errors.ts'
import { answerOf } from './question.ts'

/** Part of the image only: elsewhere nobody knows what is the device's own. */
const PROGRAM = '/usr/lib/pi-adu/factory-reset'

export interface ResetOptions {
  /** Nothing stays, not even the identity. */
  readonly all: boolean
  /** Without a question. */
  readonly yes: boolean
}

/** `pi-adu factory-reset`: orders it and restarts the system. Errors: UsageError. */
export async function factoryReset({ all, yes }: ResetOptions, program = PROGRAM): Promise<void> {
  if (!existsSync(program))
    throw new UsageError('this is not the image: a factory reset is what its data partition has')
  if (!yes) await confirmed(all)
  const child = spawn(program, [all ? 'all' : 'identity'], { stdio: 'inherit' })
  const [code] = await once(child, 'exit')
  process.exitCode = code ?? 1
}

async function confirmed(all: boolean): Promise<void> {
  if (!process.stdin.isTTY) throw new UsageError('a factory reset needs --yes where nobody can be asked')
  const lost = all ? 'everything, its identity too' : 'everything but its identity, its keys and its network'
  const answer = await answerOf(`This device loses ${lost}, and restarts. Type "reset" to go on: `)
  if (answer !== 'reset') throw new UsageError('nothing was done')
}
