import { appendFileSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { AgentError } from '../../src/domain/errors.ts'
import { CONTRACTS, type Ports } from '../../src/ports/ports.ts'
import { injected } from '../contract/injected.ts'

/** What is to go wrong, and where. */
export interface Plan {
  /** `name#count`, such as `journal.write#3`; counted over all starts of the device. Absent: nothing goes wrong. */
  readonly at?: string
  readonly do?: 'cut before' | 'cut after' | 'error'
  /** After so many bytes the middle of an iteration of this port is reached. */
  readonly half: Readonly<Record<string, number>>
}

/** One line of the record. */
export interface Effect {
  readonly at: string
  /** Gives a promise: can fail. */
  readonly later: boolean
}

type Method = (...args: unknown[]) => unknown

/** Nothing that outlives the process changes through the others. */
type Watched = Exclude<keyof Ports, 'clock' | 'log' | 'events'>

/** The error of an effect, if there is one that it may throw by its port's contract. */
export function errorAt(at: string): Error | undefined {
  const [port = '', ...members] = at.replace(/(-\w+)?#\d+$/, '').split('.')
  const member = members.at(-1) ?? ''
  // The bundle: given to the installer, not by it, so that its errors are those of a download.
  if (port === 'installer' && member === 'bytes') return new AgentError('DOWNLOAD_FAILED', 'injected')
  // What takes no time is in no contract.
  return member in CONTRACTS[port as Watched] ? injected(port, member, 'injected') : undefined
}

export const recordFile = (dir: string): string => join(dir, 'effects')
export const planFile = (dir: string): string => join(dir, 'plan.json')
/** A line of the record: the agent has nothing to do until news come. */
export const WAITS = 'waits'

/** The record so far. */
export function readRecord(dir: string): { readonly effects: readonly Effect[]; readonly waits: boolean } {
  const lines = readFileSync(recordFile(dir), 'utf8').split('\n').filter(Boolean)
  const effects = lines.filter(line => line !== WAITS).map(line => JSON.parse(line) as Effect)
  return { effects, waits: lines.at(-1) === WAITS }
}

/** Counts every effect of the ports and lets one of them go wrong. `cut` pulls the plug and does not return. */
export class Effects {
  readonly #dir: string
  readonly #plan: Plan
  readonly #cut: () => void
  readonly #counts = new Map<string, number>()

  constructor(dir: string, cut: () => void) {
    this.#dir = dir
    this.#cut = cut
    this.#plan = JSON.parse(readFileSync(planFile(dir), 'utf8'))
    for (const { at } of readRecord(dir).effects) {
      const [name, count] = at.split('#')
      this.#counts.set(name!, Number(count))
    }
  }

  watch(ports: Ports): Ports {
    const { clock, log, events, ...rest } = ports
    const watched = Object.entries(rest).map(([name, port]) => [name, this.#watched(name, port)])
    return {
      ...(Object.fromEntries(watched) as Omit<Ports, 'clock' | 'log'>),
      clock: this.#telling(clock),
      log,
      events,
    }
  }

  /** A day is how long the loop sleeps when it has nothing to do. */
  #telling(clock: Ports['clock']): Ports['clock'] {
    return {
      ...clock,
      sleep: (milliseconds, signal) => {
        if (milliseconds >= 86_400_000) appendFileSync(recordFile(this.#dir), `${WAITS}\n`)
        return clock.sleep(milliseconds, signal)
      },
    }
  }

  /** Methods of a port are effects, so are those of what they give; iterations are, at three places. */
  #watched<T extends object>(name: string, port: T): T {
    return new Proxy(port, {
      get: (target, key) => {
        const value: unknown = Reflect.get(target, key, target)
        if (isIterable(value)) return this.#iterated(`${name}.${String(key)}`, value)
        if (typeof value !== 'function') return value
        return (...args: unknown[]) => this.#call(`${name}.${String(key)}`, args, target, value as Method)
      },
    })
  }

  #call(name: string, args: readonly unknown[], target: object, method: Method): unknown {
    const given = args.map(arg => (isIterable(arg) ? this.#iterated(`${name}.bytes`, arg) : arg))
    const planned = this.#next(name)
    // Written down before it strikes, or it would strike again after every start.
    if (planned === 'cut before' || planned === 'error') this.#record(name, true)
    if (planned === 'cut before') this.#cut()
    if (planned === 'error') return Promise.reject(errorAt(`${name}#0`))
    const result = method.apply(target, given)
    const later = result instanceof Promise
    this.#record(name, later)
    const after = (value: unknown): unknown => {
      if (planned === 'cut after') this.#cut()
      if (isIterable(value)) return this.#iterated(name, value)
      return isPort(value) ? this.#watched(name, value) : value
    }
    return later ? result.then(after) : after(result)
  }

  async *#iterated(name: string, bytes: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    const half = this.#plan.half[name.split('.')[0]!] ?? 0
    let seen = 0
    this.#pass(`${name}-first`)
    for await (const chunk of bytes) {
      if (seen <= half && seen + chunk.length > half) this.#pass(`${name}-middle`)
      seen += chunk.length
      yield chunk
    }
    this.#pass(`${name}-end`)
  }

  /** A place, not a call: before and after are the same. */
  #pass(name: string): void {
    const planned = this.#next(name)
    this.#record(name, true)
    if (planned?.startsWith('cut')) this.#cut()
    if (planned === 'error') throw errorAt(`${name}#0`)!
  }

  #next(name: string): Plan['do'] {
    const count = (this.#counts.get(name) ?? 0) + 1
    this.#counts.set(name, count)
    return this.#plan.at === `${name}#${count}` ? this.#plan.do : undefined
  }

  #record(name: string, later: boolean): void {
    const effect: Effect = { at: `${name}#${this.#counts.get(name)}`, later }
    appendFileSync(recordFile(this.#dir), `${JSON.stringify(effect)}\n`)
  }
}

const isIterable = (value: unknown): value is AsyncIterable<Buffer> =>
  typeof value === 'object' && value !== null && Symbol.asyncIterator in value

/** Something with methods or iterations of its own, not plain data. */
function isPort(value: unknown): value is object {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof Uint8Array) return false
  const prototype = Object.getPrototypeOf(value)
  return (
    (prototype !== Object.prototype && prototype !== null) ||
    Object.values(value).some(each => isIterable(each) || typeof each === 'function')
  )
}
