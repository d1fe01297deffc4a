import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

/** The name of the environment variable by which a device's processes are known; its value belongs to one power-on. */
export const POWER_MARK = 'BOARD_POWER'

/** A process. Its start time distinguishes it from a later one with the same number. */
export interface ProcessIdentity {
  readonly pid: number
  readonly startTime: string
}

interface ProcessEntry extends ProcessIdentity {
  readonly parent: number
  readonly session: number
}

/** Kills every process at once, as when the plug is pulled: all are frozen first, so none sees another one end. */
export async function killAtOnce(mark: string, first?: ProcessIdentity): Promise<void> {
  const frozen = new Map<number, ProcessIdentity>()
  // What was about to fork may have done so before it froze: look until nobody new is there.
  for (let news = true; news; ) {
    news = false
    for (const found of marked(mark, first)) {
      if (frozen.get(found.pid)?.startTime === found.startTime) continue
      send(found, 'SIGSTOP')
      frozen.set(found.pid, found)
      news = true
    }
  }
  for (const found of frozen.values()) send(found, 'SIGKILL')
  while ([...frozen.values()].some(isAlive)) await sleep(2)
}

/** The live processes that carry the mark, that descend from one that does, or that share a session with one; and `first`. */
export function marked(mark: string, first?: ProcessIdentity): ProcessIdentity[] {
  const all = processTable()
  const found = new Map<number, ProcessEntry>()
  for (const entry of all) {
    if (isSame(entry, first) || environment(entry.pid).includes(`\0${POWER_MARK}=${mark}\0`))
      found.set(entry.pid, entry)
  }
  for (let grown = true; grown; ) {
    grown = false
    // A session is ours when its leader is: sessions of others, which a leader may have been started from, are left alone.
    for (const entry of all) {
      if (found.has(entry.pid) || !(found.has(entry.parent) || found.has(entry.session))) continue
      found.set(entry.pid, entry)
      grown = true
    }
  }
  found.delete(process.pid)
  return [...found.values()]
}

/** This process, or the one with the number `pid`; undefined when it has ended. */
export function identify(pid: number): ProcessIdentity | undefined {
  return entryOf(pid)
}

export function isAlive(identity: ProcessIdentity): boolean {
  return isSame(entryOf(identity.pid), identity)
}

function isSame(one: ProcessIdentity | undefined, two: ProcessIdentity | undefined): boolean {
  return one !== undefined && one.pid === two?.pid && one.startTime === two.startTime
}

function send(to: ProcessIdentity, signal: NodeJS.Signals): void {
  try {
    if (isAlive(to)) process.kill(to.pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

function processTable(): ProcessEntry[] {
  return readdirSync('/proc').flatMap(name => (/^\d+$/.test(name) ? (entryOf(Number(name)) ?? []) : []))
}

/** From /proc/PID/stat (proc(5)); undefined for one that has ended and only waits to be reaped. */
function entryOf(pid: number): ProcessEntry | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // The name in parentheses may contain anything, so count from its end: state is the next field.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    if (fields[0] === 'Z' || fields[0] === 'X') return undefined
    return { pid, parent: Number(fields[1]), session: Number(fields[3]), startTime: fields[19]! }
  } catch {
    return undefined
  }
}

function environment(pid: number): string {
  try {
    return `\0${readFileSync(`/proc/${pid}/environ`, 'latin1')}\0`
  } catch {
    return '' // ended meanwhile, or another user's
  }
}
