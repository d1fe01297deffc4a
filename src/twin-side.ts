import type { Attempt, InstallResult, Order, Workflow } from './domain/deployment.ts'
import { AgentError, HubError, HubRejection } from './domain/errors.ts'
import { ercText } from './domain/result-codes.ts'
import { HubLink } from './hub-link.ts'
import { OrderVerifier, type VerifierOptions } from './order-verifier.ts'
import type { MethodListener, Ports, Reported } from './ports.ts'
import { type Reading, readDesired, type Service } from './trust/service.ts'
import { backOff } from './workflow/back-off.ts'
import { firmwareFinal, firmwareReduced } from './workflow/firmware-update-report.ts'
import * as report from './workflow/report.ts'

export interface TwinOptions {
  readonly device: report.DeviceProperties
  readonly trust: VerifierOptions
  /** Milliseconds, see HubLink. */
  readonly connectionLifetime: number
  /**
   * Milliseconds over which a fleet spreads what it does about a new deployment: each device waits a random part of it. A
   * cancel is never made to wait.
   */
  readonly spread: number
}

type Needed = Pick<Ports, 'hub' | 'clock' | 'log' | 'host' | 'content' | 'keyStore'>

/** Tries to verify an order before the twin is told that this device cannot. */
const MAX_FAILURES = 3

const NEVER = new AbortController().signal

/** The twin as the rest of the agent sees it: verified orders in, reports out. */
export class TwinSide {
  readonly #ports: Needed
  readonly #options: TwinOptions
  readonly #onNews: () => void
  readonly #link: HubLink
  readonly #verifier: OrderVerifier
  #verifying = new AbortController()
  #waiting = new AbortController()
  #isVerifying = false
  #goal: Order | undefined
  #acknowledged: number | undefined
  /** What the twin shows as ended. */
  #ended: Workflow | undefined
  /** Ends `run` with what went wrong in a report that nobody waits for. */
  #onBug: (error: unknown) => void = () => {}
  readonly #bug = new Promise<never>((_, reject) => {
    this.#onBug = reject
  })

  /** `onNews` is called when the goal may have changed, and on each connection; `onMethod` once the twin was read. */
  constructor(ports: Needed, options: TwinOptions, onNews: () => void, onMethod: MethodListener) {
    this.#ports = ports
    this.#options = options
    this.#onNews = onNews
    this.#verifier = new OrderVerifier(ports, options.trust)
    this.#link = new HubLink(ports.hub, ports.clock, ports.log, {
      connectionLifetime: options.connectionLifetime,
      onConnected: reported => this.#greet(reported),
      onDesired: (desired, isNews) => this.#spread(readDesired(desired), isNews),
      // The light shows it.
      onLost: () => this.#onNews(),
      onMethod,
    })
  }

  /** The newest order; undefined before the twin was read, and when it has none. */
  get goal(): Order | undefined {
    return this.#goal
  }

  /** What the twin asks for is not known yet: its signature is being verified. */
  get isVerifying(): boolean {
    return this.#isVerifying
  }

  get connected(): boolean {
    return this.#link.connected
  }

  /** Runs until `signal` aborts. */
  async run(signal: AbortSignal): Promise<never> {
    try {
      return await Promise.race([this.#link.run(signal), this.#bug])
    } finally {
      this.#verifying.abort()
      this.#waiting.abort()
    }
  }

  /** For news that may get lost: the final report says all. */
  async tell(patch: Reported, signal: AbortSignal): Promise<void> {
    try {
      await this.#link.report(patch, signal)
    } catch (error) {
      if (!(error instanceof HubError)) throw error
      this.#ports.log.warn('report.skipped', { why: error.message })
    }
  }

  /** The final report. Resolves when the hub has it. Errors: HubError. */
  async report(attempt: Attempt, result: InstallResult, signal: AbortSignal): Promise<void> {
    const { workflow, updateId, firmware } = attempt
    try {
      await this.#link.report(
        firmware ? firmwareFinal(firmware, result) : report.final(workflow, result, updateId),
        signal,
      )
    } catch (error) {
      if (!(error instanceof HubRejection)) throw error
      // Better the bare numbers than nothing, and better nothing than to ask for ever.
      this.#ports.log.error('report.rejected', { why: error.message })
      const bare = firmware ? firmwareReduced(firmware, result) : report.reduced(workflow, result, updateId)
      await this.tell(bare, signal)
    }
    if (!firmware) this.#ended = workflow
    this.#ports.log.info('reported', { workflowId: workflow.id, resultCode: result.resultCode })
  }

  /**
   * For a device that can do nothing, not even keep a journal: it is still heard. Says nothing where the twin has the end
   * of the newest order already.
   */
  async complain(result: InstallResult, signal: AbortSignal): Promise<void> {
    const workflow = this.#goal?.workflow
    if (!workflow || (workflow.id === this.#ended?.id && workflow.retryTimestamp === this.#ended.retryTimestamp)) return
    await this.tell(report.final(workflow, result, undefined), signal)
  }

  /** On each connection: startup reports, where the twin does not show them yet. */
  async #greet(reported: unknown): Promise<void> {
    this.#acknowledged = acknowledgedVersion(reported)
    this.#ended = endedWorkflow(reported)
    const { host, log } = this.#ports
    // To be without these facts in the twin is no reason to be without the twin.
    const information = await host.information().catch(error => {
      if (!(error instanceof AgentError)) throw error
      log.warn('information.unavailable', { why: error.message })
      return {}
    })
    const patch = report.startup(this.#options.device, information)
    if (!report.shows(reported, patch)) await this.tell(patch, NEVER)
    this.#onNews()
  }

  /** Every desired document, now or a little later; a newer one takes the place of one that waits. */
  #spread(reading: Reading, isNews: boolean): void {
    const { clock } = this.#ports
    const isOrder = isNews && reading.service?.action === 'deploy'
    const pause = isOrder ? this.#options.spread * clock.random() : 0
    this.#waiting.abort()
    if (pause === 0) {
      this.#look(reading)
      return
    }
    this.#waiting = new AbortController()
    const over = clock.sleep(pause, this.#waiting.signal).then(
      () => true,
      () => false,
    )
    over.then(isOver => isOver && this.#look(reading)).catch(this.#onBug)
  }

  /** Acknowledge, verify, pass on. */
  #look(reading: Reading): void {
    if (reading.ignored) this.#ports.log.warn('order.ignored', { why: reading.ignored.message })
    if (reading.hasService && reading.version !== undefined && reading.version !== this.#acknowledged) {
      this.#acknowledged = reading.version
      this.tell(report.acknowledgement(reading.workflow, reading.version), NEVER).catch(this.#onBug)
    }
    if (!reading.service) return
    // What an older document asks for matters no more, even if its root key package is still on the way.
    this.#verifying.abort()
    this.#verifying = new AbortController()
    this.#isVerifying = true
    this.#verify(reading.service, this.#verifying.signal).catch(this.#onBug)
  }

  async #verify(service: Service, signal: AbortSignal): Promise<void> {
    const { log, clock } = this.#ports
    for (let failures = 1; !signal.aborted; failures++) {
      try {
        const order = await this.#verifier.verify(service, signal)
        if (!signal.aborted) this.#take(order)
        return
      } catch (error) {
        if (signal.aborted) return
        if (!(error instanceof AgentError)) throw error
        // No verdict on the order yet: this machine cannot read its own disk.
        log.error('order.not-verified', { why: error.message, code: ercText(error.extendedResultCode) })
        if (failures >= MAX_FAILURES) return this.#take(this.#verifier.refused(service, error))
        await clock.sleep(backOff(failures, clock), signal).catch(() => {})
      }
    }
  }

  #take(order: Order): void {
    if (order.kind === 'refuse' && !isSame(order, this.#goal)) {
      const code = ercText(order.error.extendedResultCode)
      this.#ports.log.error('order.refused', { workflowId: order.workflow.id, why: order.error.message, code })
    }
    this.#goal = order
    this.#isVerifying = false
    this.#onNews()
  }
}

/** Whether two orders ask for the same attempt. */
export const isSame = (one: Order, two: Order | undefined): boolean =>
  one.fingerprint === two?.fingerprint &&
  one.workflow.id === two.workflow.id &&
  one.workflow.action === two.workflow.action &&
  one.workflow.retryTimestamp === two.workflow.retryTimestamp

/** The workflow of a report that is final (state 0 or 255). */
function endedWorkflow(reported: unknown): Workflow | undefined {
  const { state, workflow } = (reported as Shown | undefined)?.deviceUpdate?.agent ?? {}
  return state === 0 || state === 255 ? workflow : undefined
}

interface Shown {
  readonly deviceUpdate?: { readonly agent?: { readonly state?: number; readonly workflow?: Workflow } }
}

function acknowledgedVersion(reported: unknown): number | undefined {
  const service = (reported as { deviceUpdate?: { service?: { av?: unknown } } } | undefined)?.deviceUpdate?.service
  return typeof service?.av === 'number' ? service.av : undefined
}
