import type { Attempt } from '../domain/deployment.ts'
import { AgentError } from '../domain/errors.ts'
import type { Ports } from '../ports.ts'
import type { Observed } from './next-step.ts'

export interface TrialOptions {
  /** Milliseconds that the new system has to prove itself, from the agent's start. */
  readonly timeout: number
  /** Milliseconds between two looks. */
  readonly retry: number
}

/** Enough to tell a story, little enough for a small journal. */
const MAX_MILESTONES = 24

/**
 * The health of a trial boot: good when the hub was reached over this very system and the host has no findings, within a
 * time limit. Leaves milestones in the journal, so that the old slot can say how far the new one came.
 */
export class TrialHealth {
  readonly #ports: Pick<Ports, 'clock' | 'host' | 'journal' | 'log'>
  readonly #options: TrialOptions
  readonly #begun: number
  readonly #reached = new Set(['agent started'])
  #recorded = 0

  constructor(ports: Pick<Ports, 'clock' | 'host' | 'journal' | 'log'>, options: TrialOptions) {
    this.#ports = ports
    this.#options = options
    this.#begun = ports.clock.monotonic()
  }

  /** The health, and the attempt with what was reached so far, which is on the disk too. */
  async look(
    connected: boolean,
    attempt: Attempt | undefined,
    signal: AbortSignal,
  ): Promise<Pick<Observed, 'health' | 'attempt'>> {
    if (connected) this.#reached.add('hub reached')
    // Before the host is asked: one of its checks may be what brings the machine down.
    const before = await this.#record(attempt)
    const health = await this.#judge(connected, attempt?.failedBefore ?? [], signal)
    return { health, attempt: await this.#record(before) }
  }

  async #judge(connected: boolean, known: readonly string[], signal: AbortSignal): Promise<Observed['health']> {
    const findings = connected ? [] : ['the hub was not reached']
    findings.push(...(await this.#findings(known, signal)))
    if (findings.length === 0) return { state: 'good' }
    for (const finding of findings) {
      if (connected && !this.#reached.has(finding)) this.#ports.log.warn('trial.finding', { finding })
      if (connected) this.#reached.add(finding)
    }
    const { clock } = this.#ports
    if (clock.monotonic() - this.#begun < this.#options.timeout) return { state: 'unknown' }
    const seconds = Math.round(this.#options.timeout / 1000)
    return { state: 'bad', why: `not healthy within ${seconds} s of its trial boot: ${findings.join('; ')}` }
  }

  /** A host that cannot be asked is not healthy. */
  async #findings(known: readonly string[], signal: AbortSignal): Promise<readonly string[]> {
    try {
      return await this.#ports.host.findings(signal, known)
    } catch (error) {
      if (!(error instanceof AgentError)) throw error
      return [error.message]
    }
  }

  /** Adds what was reached since the last call. A disk that cannot be written to costs the story, not the trial. */
  async #record(attempt: Attempt | undefined): Promise<Attempt | undefined> {
    const news = [...this.#reached].slice(this.#recorded)
    if (!attempt || news.length === 0 || attempt.milestones.length >= MAX_MILESTONES) return attempt
    const recorded = { ...attempt, milestones: [...attempt.milestones, ...news].slice(0, MAX_MILESTONES) }
    try {
      await this.#ports.journal.write(recorded)
    } catch (error) {
      if (!(error instanceof AgentError)) throw error
      this.#ports.log.warn('trial.not-recorded', { why: error.message })
      return attempt
    }
    this.#recorded += news.length
    return recorded
  }
}
