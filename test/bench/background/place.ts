import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { repositoryRoot } from '../../../image/builder/repository.ts'
import { identify, isAlive, type ProcessIdentity } from '../workbench/processes.ts'

/** Where the parts of a bench in the background lie in its state folder. */
export interface Place {
  readonly dir: string
  readonly log: string
  readonly pidFile: string
  readonly devices: string
  /** A folder for each device that runs in QEMU: what its card needs. */
  readonly cards: string
}

/** A socket's whole path may have 107 bytes only: both sides go to the folder and use the bare name. */
export const CONTROL_SOCKET = 'control.sock'

/** The preload looks here by default. */
export const usualDir = (): string => join(repositoryRoot(), '.bench')

export const placeOf = (dir: string): Place => ({
  dir,
  log: join(dir, 'bench.log'),
  pidFile: join(dir, 'bench.pid'),
  devices: join(dir, 'devices'),
  cards: join(dir, 'cards'),
})

/** The process that runs the bench; undefined when none does. */
export async function runningBench({ pidFile }: Place): Promise<ProcessIdentity | undefined> {
  const text = await readFile(pidFile, 'utf8').catch(() => undefined)
  if (text === undefined) return undefined
  const [pid, startTime] = text.split(' ')
  const identity = { pid: Number(pid), startTime: String(startTime).trim() }
  return isAlive(identity) ? identity : undefined
}

/** For the process that holds the folder's lock. */
export async function writePid({ pidFile }: Place): Promise<void> {
  const { pid, startTime } = identify(process.pid)!
  await writeFile(pidFile, `${pid} ${startTime}\n`)
}

export const removePid = ({ pidFile }: Place): Promise<void> => rm(pidFile, { force: true })
