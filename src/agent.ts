import type { Attempt, InstallResult } from './domain/deployment.ts'
import { AgentError, HubError } from './domain/errors.ts'
import { ercText, RESULT_CODE } from './domain/result-codes.ts'
import { type MethodPolicy, MethodSide } from './method-side.ts'
import type { Ports } from './ports.ts'
import { isSame, type TwinOptions, TwinSide } from './twin-side.ts'
import { backOff } from './workflow/back-off.ts'
import { type DowngradePolicy, lowestVersion } from './workflow/downgrade.ts'
import { firmwareFinal, rebootReport } from './workflow/firmware-update-report.ts'
import { moodOf } from './workflow/mood.ts'
import {
  failedWith,
  INTERRUPTIBLE,
  inTheWay,
  nextStep,
  type Observed,
  replaces,
  type WorkflowStep,
} from './workflow/next-step.ts'
import { conclude, type PerformOptions, perform } from './workflow/perform.ts'
import { TrialHealth, type TrialOptions } from './workflow/trial-health.ts'
import { Wakeup } from './workflow/wakeup.ts'

export interface AgentOptions extends PerformOptions {
  readonly twin: TwinOptions
  readonly trial: TrialOptions
  readonly methods: MethodPolicy
  readonly downgrade: DowngradePolicy
  /** What the owner brought was refused, and the old configuration runs: the light says that something failed. */
  readonly configRefused?: boolean
}

/** Failures in a row of one short step before the deployment is given up, or the twin told, instead of only trying again. */
const MAX_FAILURES = 3

/** Milliseconds that the answer to a method has to leave the machine before it goes down. */
const LAST_WORD = 1000

/** Why a step was aborted: the twin asks for something else now. */
class Interrupted extends Error {}

/**
 * The loop: look, decide, do one thing, look again. Twin patches and timers only mean "look again"; nothing is resumed
 * from memory, so a restart at any point goes on by itself.
 */
export class Agent {
  readonly #ports: Ports
  readonly #options: AgentOptions
  readonly #twin: TwinSide
  readonly #trial: TrialHealth
  readonly #wakeup = new Wakeup()
  readonly #methods: MethodSide
  #seen: Observed | undefined
  #doing: { readonly step: WorkflowStep; readonly seen: Observed; readonly abort: AbortController } | undefined
  #failures = 0

  constructor(ports: Ports, options: AgentOptions) {
    this.#ports = ports
    this.#options = options
    this.#trial = new TrialHealth(ports, options.trial)
    this.#methods = new MethodSide(
      ports,
      options.methods,
      () => this.#busy(),
      () => this.#wakeup.wake(),
    )
    this.#twin = new TwinSide(
      ports,
      options.twin,
      () => this.#onNews(),
      (name, payload) => this.#methods.call(name, payload),
    )
  }

  /** Runs until `signal` aborts, and rejects with its reason. Anything else that is thrown is a bug: end the process. */
  async run(signal: AbortSignal): Promise<never> {
    const stop = new AbortController()
    const either = AbortSignal.any([signal, stop.signal])
    const tasks = [this.#twin.run(either), this.#loop(either)]
    try {
      return await Promise.race(tasks)
    } finally {
      stop.abort()
      // A child process must have ended before we do.
      await Promise.allSettled(tasks)
    }
  }

  async #loop(signal: AbortSignal): Promise<never> {
    for (;;) {
      signal.throwIfAborted()
      let seen: Observed | undefined
      let step: WorkflowStep | undefined
      try {
        seen = await this.#observe(signal)
        this.#seen = seen
        step = nextStep(seen)
        await this.#do(step, seen, signal)
        this.#failures = 0
      } catch (error) {
        signal.throwIfAborted()
        if (error instanceof Interrupted) continue
        if (!(error instanceof AgentError || error instanceof HubError)) throw error
        await this.#recover(error, step, seen, signal)
      }
    }
  }

  async #observe(signal: AbortSignal): Promise<Observed> {
    const boot = await this.#ports.boot.read(signal)
    const version = await this.#ports.host.version()
    let attempt = await this.#ports.journal.read()
    let health: Observed['health'] = { state: 'unknown' }
    if (boot.trial === 'pending' && boot.booted === boot.primary) {
      ;({ health, attempt } = await this.#trial.look(this.#twin.connected, attempt, signal))
    }
    const lowest = lowestVersion(this.#options.downgrade, attempt, version)
    const seen = { boot, attempt, version, goal: this.#twin.goal, health, lowest }
    // A call waits until it is known what the twin asks for.
    if (this.#twin.isVerifying) return { ...seen, request: undefined }
    const why = this.#methods.request && inTheWay(seen)
    if (why) this.#methods.settle(409, `Refused: ${why}.`)
    return { ...seen, request: this.#methods.request }
  }

  /** What keeps a direct method from being obeyed, as far as can be said at once; the loop looks once more. */
  #busy(): string | undefined {
    if (!this.#seen) return 'the agent is starting'
    const why = inTheWay({ ...this.#seen, goal: this.#twin.goal })
    return why ?? (this.#doing && 'another update is running')
  }

  async #do(step: WorkflowStep, seen: Observed, signal: AbortSignal): Promise<void> {
    const { clock, indicator, journal } = this.#ports
    const lastFailed = this.#options.configRefused || seen.attempt?.result?.resultCode === RESULT_CODE.failure
    indicator.show(moodOf(step, { connected: this.#twin.connected, lastFailed }))
    if (step.do === 'wait') {
      return this.#wakeup.wait(step.for === 'health' ? this.#options.trial.retry : undefined, clock, signal)
    }
    if (step.do === 'report') {
      if (!this.#twin.connected) return this.#wakeup.wait(undefined, clock, signal)
      const attempt = seen.attempt as Attempt
      await this.#twin.report(attempt, step.result, signal)
      return journal.write({ ...attempt, reported: true })
    }
    if (step.do === 'restart') {
      await this.#twin.tell(rebootReport(clock.now()), signal)
      this.#methods.settle(200, 'Reboot started')
      await clock.sleep(LAST_WORD, signal)
    }
    const abort = new AbortController()
    this.#doing = { step, seen, abort }
    try {
      const either = AbortSignal.any([signal, abort.signal])
      await perform(this.#ports, step, seen, news => this.#twin.tell(news, either), this.#options, either)
      if (step.do === 'begin' && step.goal === seen.request) this.#methods.settle(200, 'FirmwareUpdate started')
    } catch (error) {
      abort.signal.throwIfAborted()
      throw error
    } finally {
      this.#doing = undefined
    }
  }

  async #recover(
    error: AgentError | HubError,
    step: WorkflowStep | undefined,
    seen: Observed | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const { log, clock } = this.#ports
    this.#failures += 1
    const code = error instanceof AgentError ? ercText(error.extendedResultCode) : undefined
    log.error('step.failed', { step: step?.do ?? 'observe', why: error.message, code })
    if (seen?.request) this.#methods.settle(503, `Nothing was begun: ${error.message}.`)
    if (error instanceof AgentError) {
      const giveUp = step?.do === 'install' || (step?.do === 'activate' && this.#failures >= MAX_FAILURES)
      if (giveUp && seen && (await this.#giveUp(error, seen, signal))) return
      if (this.#failures === MAX_FAILURES) await this.#complain(failureOf(error), seen?.attempt, signal)
    }
    await this.#wakeup.wait(backOff(this.#failures, clock), clock, signal)
  }

  /** Makes `error` the result of the attempt. */
  async #giveUp(error: AgentError, { boot }: Observed, signal: AbortSignal): Promise<boolean> {
    try {
      const attempt = await this.#ports.journal.read()
      if (!attempt) return false
      await conclude(this.#ports, attempt, boot, { result: failureOf(error) }, signal)
      this.#failures = 0
      return true
    } catch (second) {
      if (!(second instanceof AgentError)) throw second
      this.#ports.log.error('step.failed', { step: 'finish', why: second.message })
      return false
    }
  }

  /** A device that can do nothing, not even keep a journal, is still heard. */
  async #complain(result: InstallResult, attempt: Attempt | undefined, signal: AbortSignal): Promise<void> {
    if (!attempt?.firmware) return this.#twin.complain(result, signal)
    if (!attempt.reported) await this.#twin.tell(firmwareFinal(attempt.firmware, result), signal)
  }

  #onNews(): void {
    const { goal } = this.#twin
    const doing = this.#doing
    const firmware = doing?.seen.attempt?.firmware && doing.seen.attempt
    const other = firmware ? replaces(goal, firmware) : goal && !isSame(goal, doing?.seen.goal)
    if (goal && doing && INTERRUPTIBLE[doing.step.do] && other) {
      doing.abort.abort(new Interrupted(`order ${goal.workflow.id} came in`))
    }
    this.#wakeup.wake()
  }
}

const failureOf = (error: AgentError) =>
  failedWith({ extendedResultCode: error.extendedResultCode, details: error.message })
