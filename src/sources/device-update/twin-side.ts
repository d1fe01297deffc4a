import type { Attempt, InstallResult } from '../../domain/attempt.ts'
import { type Deployment, TWIN, type Workflow } from '../../domain/deployment.ts'
import { AgentError, asAgentError, Fault, HubError, HubRejection, messageOf } from '../../domain/errors.ts'
import { ercText } from '../../domain/result-codes.ts'
import { HubLink, type HubLinkOptions } from '../../hub/link.ts'
import type { TwinPart } from '../../hub/twin-part.ts'
import type { MethodListener, Reported } from '../../ports/hub.ts'
import type { Ports } from '../../ports/ports.ts'
import { backOff } from '../../timing/back-off.ts'
import { retrying } from '../../timing/retrying.ts'
import type { Reading, Service } from '../../trust/service.ts'
import type { CrashGuard } from '../crash-guard.ts'
import { DeploymentVerifier, type VerifierOptions } from '../deployment-verifier.ts'
import type { Reporter } from '../reporter.ts'
import { type DeviceProperties, isSameWork, type NameWork, type TwinContract } from '../twin-contract.ts'
import { shows } from './report.ts'

export interface TwinOptions {
  readonly contract: TwinContract
  readonly device: DeviceProperties
  readonly trust: VerifierOptions
  /** Milliseconds, see HubLink. */
  readonly connectionLifetime: number
  /**
   * Milliseconds over which a fleet spreads its reaction to a new deployment: each device waits a random part of it. A cancel
   * never waits.
   */
  readonly spread: number
  /** See HubLink. */
  readonly network?: HubLinkOptions['network']
  /** What else the twin holds. */
  readonly parts?: readonly TwinPart[]
}

type Needed = Pick<Ports, 'hub' | 'clock' | 'log' | 'events' | 'host' | 'content' | 'keyStore' | 'journal'>

/** Tries to verify a deployment before the device reports that it cannot. */
const MAX_FAILURES = 3

const NEVER = new AbortController().signal

/** The twin as the rest of the agent sees it: it gives verified deployments and takes reports. */
export class TwinSide {
  readonly #ports: Needed
  readonly #options: TwinOptions
  readonly #onNews: () => void
  readonly #link: HubLink
  readonly #verifier: DeploymentVerifier
  readonly #name: NameWork
  #verifying = new AbortController()
  #waiting = new AbortController()
  #isVerifying = false
  #deployment: Deployment | undefined
  #acknowledged: number | undefined
  /** Whether the twin shows this workflow as ended. */
  #hasEnded: (workflow: Workflow) => boolean = () => false
  /** Ends `run` with the error of a report that nobody awaits. */
  #onBug: (error: unknown) => void = () => {}
  readonly #bug = new Promise<never>((_, reject) => {
    this.#onBug = reject
  })

  /** `onNews` is called when the deployment may have changed and on each connection; `onMethod` only after the twin was read. */
  constructor(ports: Needed, options: TwinOptions, guard: CrashGuard, onNews: () => void, onMethod: MethodListener) {
    this.#ports = ports
    this.#options = options
    this.#onNews = onNews
    this.#verifier = new DeploymentVerifier(ports, options.trust, guard)
    this.#name = options.contract.naming?.(ports) ?? (service => async () => service)
    this.#link = new HubLink(ports, {
      ...{ connectionLifetime: options.connectionLifetime, network: options.network },
      onConnected: reported => this.#greet(reported),
      onDesired: (desired, isNews) => this.#spread(options.contract.read(desired), isNews),
      // The status light shows a lost connection.
      onLost: () => this.#onNews(),
      onMethod,
      ...(options.parts ? { parts: options.parts } : {}),
    })
  }

  /** The newest deployment; undefined before the twin was read, or when it has none. */
  get deployment(): Deployment | undefined {
    return this.#deployment
  }

  /** Whether the twin's deployment is still being verified, and so not known yet. */
  get isVerifying(): boolean {
    return this.#isVerifying
  }

  get wasConnected(): boolean {
    return this.#link.wasConnected
  }

  get connected(): boolean {
    return this.#link.connected
  }

  /** See `DeploymentVerifier.verifyLocal`: the root keys are those that the twin's deployments are verified with. */
  verifyLocal(...given: Parameters<DeploymentVerifier['verifyLocal']>): Promise<Deployment> {
    return this.#verifier.verifyLocal(...given)
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

  /** For interim reports, which may get lost: the final report is complete. */
  async tell(patch: Reported, signal: AbortSignal): Promise<void> {
    try {
      await this.#link.report(patch, signal)
    } catch (error) {
      signal.throwIfAborted()
      if (error instanceof HubError) return this.#ports.log.warn('report.skipped', { why: error.message })
      // Reports repeat parts of the twin, so odd content may make one fail. A missing report is better than a dead agent.
      this.#ports.log.error('report.bug', { why: messageOf(error), stack: (error as Error).stack })
    }
  }

  /** For reports that must arrive. Resolves when the hub has it, or rejects it for good. Errors: HubError. */
  async deliver(patch: Reported, signal: AbortSignal): Promise<void> {
    try {
      await this.#link.report(patch, signal)
    } catch (error) {
      signal.throwIfAborted()
      if (!(error instanceof HubRejection)) throw error
      this.#ports.log.error('report.rejected', { why: messageOf(error) })
    }
  }

  /** The final report. Resolves when the hub has it. Errors: HubError. */
  async report(attempt: Attempt, result: InstallResult, reporter: Reporter, signal: AbortSignal): Promise<void> {
    const { workflow, origin } = attempt
    try {
      await this.#link.report(reporter.final(attempt, result), signal)
    } catch (error) {
      signal.throwIfAborted()
      if (error instanceof HubError && !(error instanceof HubRejection)) throw error
      // A report with only the codes is better than none, and none is better than retrying for ever.
      this.#ports.log.error('report.rejected', { why: messageOf(error) })
      await this.tell(reporter.reduced(attempt, result), signal)
    }
    if (origin === TWIN) this.#hasEnded = other => isSameWork(other, workflow)
    this.#ports.events.tell({ event: 'reported', workflowId: workflow.id, resultCode: result.resultCode })
  }

  /**
   * Reports from a device that can do nothing else, not even keep a journal. Sends nothing if the twin already shows the
   * newest deployment as ended.
   */
  async complain(result: InstallResult, signal: AbortSignal): Promise<void> {
    const workflow = this.#deployment?.workflow
    if (!workflow || this.#hasEnded(workflow)) return
    await this.tell(this.#options.contract.complaint(workflow, result), signal)
  }

  /** Sends the startup reports on each connection, unless the twin already shows them. */
  async #greet(reported: unknown): Promise<void> {
    const { contract, device } = this.#options
    this.#acknowledged = contract.acknowledged(reported)
    this.#hasEnded = contract.showsEnd(reported)
    const { host, log } = this.#ports
    // The agent can work without these facts in the twin.
    const information = await host.information().catch(error => {
      if (!(error instanceof AgentError)) throw error
      log.warn('information.unavailable', { why: error.message })
      return {}
    })
    const patch = contract.startup(device, information, reported)
    if (!shows(reported, patch)) await this.tell(patch, NEVER)
    this.#onNews()
  }

  /** Handles every desired document, now or a little later; a newer one replaces one that waits. */
  #spread(reading: Reading, isNews: boolean): void {
    const { clock } = this.#ports
    const isDeployment = isNews && reading.service?.action === 'deploy'
    const pause = isDeployment ? this.#options.spread * clock.random() : 0
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
    if (reading.ignored) this.#ports.events.tell({ event: 'deployment.ignored', why: reading.ignored.message })
    if (reading.hasService && reading.version !== undefined && reading.version !== this.#acknowledged) {
      this.#acknowledged = reading.version
      this.tell(this.#options.contract.acknowledgement(reading, reading.version), NEVER).catch(this.#onBug)
    }
    if (!reading.service) return
    // An older document no longer matters, even if its root key package is still being fetched.
    this.#verifying.abort()
    this.#verifying = new AbortController()
    this.#isVerifying = true
    this.#verify(reading.service, this.#name(reading.service), this.#verifying.signal).catch(this.#onBug)
  }

  async #verify(service: Service, named: ReturnType<NameWork>, signal: AbortSignal): Promise<void> {
    const { log, clock } = this.#ports
    // There is no verdict on the deployment yet: this machine cannot read its own disk, or the agent has a fault.
    const pause = (error: unknown, failures: number): number | undefined => {
      const failure = asAgentError(error)
      const { message: why, extendedResultCode, cause } = failure
      log.error('deployment.not-verified', { why, code: ercText(extendedResultCode), stack: (cause as Error)?.stack })
      return failure instanceof Fault || failures >= MAX_FAILURES ? undefined : backOff(failures, clock)
    }
    const verifying = retrying(
      async () => this.#verifier.verify(await named(), signal),
      { pause, onRetry: () => {} },
      clock,
      signal,
    )
    const deployment = await verifying.catch(error => this.#verifier.refused(service, asAgentError(error)))
    if (!signal.aborted) this.#take(deployment)
  }

  #take(deployment: Deployment): void {
    if (deployment.kind === 'refuse' && !isSame(deployment, this.#deployment)) {
      const code = ercText(deployment.error.extendedResultCode)
      const { id: workflowId } = deployment.workflow
      this.#ports.events.tell({ event: 'deployment.refused', workflowId, why: deployment.error.message, code })
    }
    this.#deployment = deployment
    this.#isVerifying = false
    this.#onNews()
  }
}

/** Whether two deployments ask for the same attempt. */
export const isSame = (one: Deployment, two: Deployment | undefined): boolean =>
  one.fingerprint === two?.fingerprint &&
  one.workflow.id === two.workflow.id &&
  one.workflow.action === two.workflow.action &&
  one.workflow.retryTimestamp === two.workflow.retryTimestamp
