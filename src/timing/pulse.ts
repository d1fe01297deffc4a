import type { Clock } from '../ports/clock.ts'
import type { Ports } from '../ports/ports.ts'

/** Milliseconds. */
export interface PulseLimits {
  /** Longest time between two signs of life. */
  readonly limit: number
  /** Limits for port calls that may take longer, by `port.method`; they count from the last sign of life. */
  readonly allowed: Readonly<Record<string, number>>
}

interface Call {
  readonly name: string
  readonly allowed: number
}

/**
 * Notices that work no longer advances. The start and the end of a port call are signs of life, and a requested pause extends the
 * limit. So a loop that hangs in one await is distinguished from one that waits or works for a long time.
 */
export class Pulse {
  readonly #clock: Pick<Clock, 'monotonic'>
  readonly #limits: PulseLimits
  readonly #running = new Set<Call>()
  #last: number

  constructor(clock: Pick<Clock, 'monotonic'>, limits: PulseLimits) {
    this.#clock = clock
    this.#limits = limits
    this.#last = clock.monotonic()
  }

  /** Work has advanced. */
  beat(): void {
    this.#last = this.#clock.monotonic()
  }

  /** The overdue call, for the log; undefined if there is none. */
  get stuck(): string | undefined {
    const silent = this.#clock.monotonic() - this.#last
    const most = Math.max(this.#limits.limit, ...[...this.#running].map(({ allowed }) => allowed))
    if (silent <= most) return undefined
    const calls = [...this.#running].map(({ name }) => name).join(', ') || 'no call'
    return `nothing has happened for ${Math.round(silent / 1000)} s; it waits for: ${calls}`
  }

  /** The same ports, but every call is observed. */
  watching(ports: Ports): Ports {
    const seen = Object.entries(ports).map(([name, port]) => [name, this.#watching(name, port)])
    return Object.fromEntries(seen) as Ports
  }

  #watching<T extends object>(name: string, port: T): T {
    return new Proxy(port, {
      get: (target, key) => {
        const value = Reflect.get(target, key)
        if (typeof value !== 'function') return value
        return (...args: unknown[]) => this.#call(`${name}.${String(key)}`, args, () => value.apply(target, args))
      },
    })
  }

  #call(name: string, args: readonly unknown[], work: () => unknown): unknown {
    this.beat()
    const result = work()
    if (!(result instanceof Promise)) return result
    const pause = name === 'clock.sleep' ? Number(args[0]) + this.#limits.limit : 0
    const call = { name, allowed: Math.max(pause, this.#limits.allowed[name] ?? 0) }
    this.#running.add(call)
    const over = (): void => {
      this.#running.delete(call)
      this.beat()
    }
    result.then(over, over)
    return result
  }
}
