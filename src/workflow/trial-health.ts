import type { Attempt } from '../domain/attempt.ts'
import { AgentError } from '../domain/errors.ts'
import type { Ports } from '../ports/ports.ts'
import type { Observed } from './action.ts'

export interface TrialOptions {
  /** Milliseconds from the agent's start within which the new system must prove healthy. */
  readonly timeout: number
  /** Milliseconds between two health checks. */
  readonly retry: number
}

/** Enough to show how far a trial came, and few enough for a small journal. */
const MAX_MILESTONES = 24

const HUB_REACHED = 'hub reached'

const NO_HUB = 'the hub was not reached'

/** Milliseconds that even the last health check may take: the trial's time limit may have passed when it starts. */
export const LAST_LOOK = 60_000

/**
 * The health of a trial boot: good when this system reached the hub and the host has no findings, within a time limit.
 * Remembers which milestones are not in the journal yet, so that the old slot can report how far the new one came.
 */
export class TrialHealth {
  readonly #ports: Pick<Ports, 'clock' | 'host' | 'events'>
  readonly #options: TrialOptions
  readonly #begun: number
  readonly #reached = new Set(['agent started'])
  #recorded = 0
  /** The last milestones could not be written. The health is checked before the next try. */
  #isPutOff = false

  constructor(ports: Pick<Ports, 'clock' | 'host' | 'events'>, options: TrialOptions) {
    this.#ports = ports
    this.#options = options
    this.#begun = ports.clock.monotonic()
  }

  /** Milliseconds until the time limit. */
  get left(): number {
    return this.#begun + this.#options.timeout - this.#ports.clock.monotonic()
  }

  /**
   * The health, or the milestones that must be recorded before the health is checked: one of the host's checks may bring
   * the machine down. Writes nothing.
   */
  async look(
    connected: boolean,
    attempt: Attempt | undefined,
    signal: AbortSignal,
  ): Promise<Pick<Observed, 'health' | 'milestones'>> {
    if (connected) this.#reached.add(HUB_REACHED)
    const milestones = this.#isPutOff ? [] : this.#unrecorded(attempt)
    this.#isPutOff = false
    if (milestones.length > 0) return { health: { state: 'unknown' }, milestones }
    return { health: await this.#judge(attempt, signal), milestones }
  }

  /** `milestones`: how many are in the journal now; undefined when it could not be written. */
  recorded(milestones: number | undefined): void {
    this.#recorded += milestones ?? 0
    this.#isPutOff = milestones === undefined
  }

  #unrecorded(attempt: Attempt | undefined): readonly string[] {
    const room = MAX_MILESTONES - (attempt?.milestones.length ?? MAX_MILESTONES)
    return [...this.#reached].slice(this.#recorded).slice(0, Math.max(room, 0))
  }

  async #judge(attempt: Attempt | undefined, signal: AbortSignal): Promise<Observed['health']> {
    const { events } = this.#ports
    // A connection that has been lost since still counts: it showed that this system can be reached and updated. Where the
    // old system had no connection either, the person at the device stands in for it. But the old one may just not have been
    // connected yet, so this one gets all of its time for it.
    const isReached = this.#reached.has(HUB_REACHED)
    const reached = isReached || (attempt?.offline === true && this.left <= 0)
    const tells = isReached || attempt?.offline === true
    const own = await this.#findings(attempt?.failedBefore ?? [], Math.max(this.left, LAST_LOOK), signal)
    const findings = reached ? own : [NO_HUB, ...own]
    if (findings.length === 0) return { state: 'good' }
    for (const finding of findings) {
      if (!tells || finding === NO_HUB) continue
      if (!this.#reached.has(finding)) events.tell({ event: 'trial.finding', finding })
      this.#reached.add(finding)
    }
    if (this.left > 0) return { state: 'unknown' }
    const seconds = Math.round(this.#options.timeout / 1000)
    return { state: 'bad', why: `not healthy within ${seconds} s of its trial boot: ${findings.join('; ')}` }
  }

  /** A host whose checks cannot run is not healthy. */
  async #findings(known: readonly string[], within: number, signal: AbortSignal): Promise<readonly string[]> {
    try {
      return await this.#ports.host.findings(signal, known, within)
    } catch (error) {
      if (!(error instanceof AgentError)) throw error
      return [error.message]
    }
  }
}
