import { randomUUID } from 'node:crypto'
import type { Attempt, InstallResult } from '../domain/attempt.ts'
import type { CommandName } from '../domain/command.ts'
import { AgentError, asAgentError, HubError } from '../domain/errors.ts'
import { ercText } from '../domain/result-codes.ts'
import type { Ports } from '../ports/ports.ts'
import { CommandSide } from '../sources/command-side.ts'
import { CrashGuard, CurrentWork } from '../sources/crash-guard.ts'
import { TwinSide } from '../sources/device-update/twin-side.ts'
import { MethodSide } from '../sources/firmware-update/method-side.ts'
import { type Loop, OnceSources, type Outcome } from '../sources/once-source.ts'
import { reporterOf } from '../sources/reporter.ts'
import { backOff } from '../timing/back-off.ts'
import { Pulse } from '../timing/pulse.ts'
import { Wakeup } from '../timing/wakeup.ts'
import type { Action, Observed } from './action.ts'
import { retriedBy } from './begun.ts'
import { objection } from './commands.ts'
import { localVerdict } from './downgrade.ts'
import { BESIDE, giveUp, isForGood, WORK } from './ending.ts'
import { INTERRUPTS, type News, newsBy, newsOf } from './interrupts.ts'
import { inTheWay, nextAction } from './next-action.ts'
import { Memory, type Observable, observe } from './observe.ts'
import type { AgentOptions } from './options.ts'
import { outcomeOf } from './outcome.ts'
import { type Context, Interrupted, Paused } from './perform/context.ts'
import { perform } from './perform/perform.ts'
import { AgentRestart } from './perform/restart-agent.ts'
import { pauseOnClosedGate } from './perform/wait-for-gate.ts'
import { lookOf } from './picture.ts'
import { failureOf } from './results.ts'
import { TrialHealth } from './trial-health.ts'
import { tellingWrites } from './writes.ts'

/** Consecutive failures after which the twin gets a report; before that the agent only retries. */
const MAX_FAILURES = 3

/**
 * The loop: observe, decide, do one thing, observe again. Twin patches and timers only mean "observe again". Nothing is
 * resumed from memory, so the work continues by itself after a restart at any point.
 */
export class Agent {
  readonly #process = randomUUID()
  readonly #ports: Ports
  readonly #gated: Pick<Observable, 'ports' | 'gates'>
  readonly #options: AgentOptions
  readonly #twin: TwinSide
  readonly #trial: TrialHealth
  readonly #wakeup = new Wakeup()
  readonly #once: OnceSources
  readonly #commands: CommandSide
  readonly #pulse: Pulse
  readonly #hubPulse: Pulse
  readonly #guard: CrashGuard
  readonly #work: CurrentWork
  readonly #observable: Observable
  #seen: Observed | undefined
  #doing: { readonly action: Action; readonly seen: Observed; readonly abort: AbortController } | undefined
  #failures = 0
  /** What was reported last to the origin of a waiting update. */
  #toldOf: string | undefined

  constructor(ports: Ports, options: AgentOptions) {
    this.#pulse = new Pulse(ports.clock, options.pulse)
    this.#hubPulse = new Pulse(ports.clock, options.pulse)
    this.#gated = { ports, gates: options.gates }
    this.#ports = tellingWrites(this.#pulse.watching(ports))
    this.#options = options
    this.#guard = new CrashGuard(ports)
    this.#work = new CurrentWork(this.#guard)
    this.#trial = new TrialHealth(this.#ports, options.trial)
    const known = () => ({ twin: this.#twin, seen: this.#seen })
    const loop: Loop = {
      ...localVerdict(known, options.downgrade),
      busy: () => this.#busy(),
      whyNot: command => objection(command, this.#doing),
      wake: request => this.#onNews(newsBy(request)),
    }
    const methods = new MethodSide(ports, options.methods, loop)
    this.#commands = new CommandSide(ports, loop)
    const others = Object.values(options.once ?? {}).map(make => make(loop))
    this.#once = new OnceSources([this.#commands, methods, ...others])
    this.#twin = new TwinSide(
      this.#hubPulse.watching(ports),
      options.twin,
      this.#guard,
      () => this.#onNews(),
      (name, payload) => methods.call(name, payload),
    )
    const { downgrade, gates } = options
    const looked = { twin: this.#twin, once: this.#once, trial: this.#trial, downgrade, gates }
    this.#observable = { ports: this.#ports, process: this.#process, memory: new Memory(), ...looked }
  }

  /** Why this process should be restarted: it hangs in one call. Undefined while it works or waits as intended. */
  get stuck(): string | undefined {
    return this.#pulse.stuck ?? this.#hubPulse.stuck
  }

  /** Makes it look again: something on the device has changed. */
  wake(): void {
    this.#onNews('request')
  }

  /** Carries out what somebody at the device orders, if nothing is in the way. Never rejects. */
  readonly ask = (command: CommandName): Promise<Outcome> => this.#commands.ask(command)

  /** Called by a port that rightly waits for long, to show that it does not hang. */
  beat(): void {
    this.#pulse.beat()
  }

  /** Runs until `signal` aborts, and rejects with its reason, or with AgentRestart. Any other rejection is a bug: end the process. */
  async run(signal: AbortSignal): Promise<never> {
    const stop = new AbortController()
    const either = AbortSignal.any([signal, stop.signal])
    const tasks = [this.#twin.run(either), this.#loop(either)]
    let isOrderly = false
    try {
      return await Promise.race(tasks)
    } catch (error) {
      isOrderly = error instanceof AgentRestart
      throw error
    } finally {
      stop.abort()
      // Child processes must end before this process does.
      await Promise.allSettled(tasks)
      if (signal.aborted || isOrderly) await this.#guard.stop()
    }
  }

  async #loop(signal: AbortSignal): Promise<never> {
    for (;;) {
      signal.throwIfAborted()
      let seen: Observed | undefined
      let action: Action | undefined
      try {
        seen = await observe(this.#observable, signal)
        this.#seen = seen
        action = nextAction(seen)
        this.#onPicture(seen, action)
        await this.#do(action, seen, signal)
        if (!BESIDE.has(action.do)) this.#failures = 0
      } catch (error) {
        signal.throwIfAborted()
        if (error instanceof Interrupted || error instanceof Paused) {
          this.#failures = 0
          continue
        }
        if (error instanceof AgentRestart) throw error
        const known = error instanceof AgentError || error instanceof HubError
        if (!known && !(action && WORK[action.do])) throw error
        await this.#recover(known ? error : asAgentError(error), action, seen, signal)
      }
    }
  }

  /** Why a request cannot be accepted, as far as is known at once; the loop checks again. */
  #busy(): string | undefined {
    // A request that comes before the first observation waits for it.
    const why = this.#seen && inTheWay({ ...this.#seen, deployment: this.#twin.deployment })
    const isBusy = this.#doing && INTERRUPTS[this.#doing.action.do].request === 'refused'
    return why ?? (isBusy ? 'another update is running' : undefined)
  }

  /** The one place that publishes what the loop has observed and is about to do: after each observation, before the action. */
  #onPicture(seen: Observed, action: Action): void {
    const look = lookOf(seen, action, this.#trial.left, this.#ports.clock.now().getTime())
    if (look) this.#ports.events.saw(look)
  }

  async #do(action: Action, seen: Observed, signal: AbortSignal): Promise<void> {
    const abort = new AbortController()
    // This comes first, so that news that arrive while the work is noted reach the action too.
    this.#doing = { action, seen, abort }
    try {
      const work = WORK[action.do]
      const workedOn = action.do === 'begin' ? retriedBy(action, seen.attempt) : seen.attempt
      if (work && workedOn) await this.#work.begin(work.what, workedOn)
      if (action.do === 'install' || action.do === 'prepare')
        void pauseOnClosedGate(seen.attempt, this.#gated, action.do, abort)
      await perform(action, this.#context(seen, AbortSignal.any([signal, abort.signal])))
    } catch (error) {
      abort.signal.throwIfAborted()
      throw error
    } finally {
      this.#doing = undefined
      abort.abort()
    }
  }

  #context(seen: Observed, signal: AbortSignal): Context {
    const twin = this.#twin
    return {
      ...{ ports: this.#ports, options: this.#options, seen, signal, requests: this.#once, process: this.#process },
      ...{ tell: news => twin.tell(news, signal), deliver: news => twin.deliver(news, signal) },
      isNews: what => {
        const isNew = this.#toldOf !== what
        this.#toldOf = what
        return isNew
      },
      report: (attempt, result) => twin.report(attempt, result, reporterOf(this.#options.reporters, attempt), signal),
      wait: async milliseconds => {
        await this.#work.end()
        await this.#wakeup.wait(milliseconds, this.#ports.clock, signal)
      },
      recorded: milestones => this.#trial.recorded(milestones),
    }
  }

  async #recover(
    error: AgentError | HubError,
    action: Action | undefined,
    seen: Observed | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const { events, clock } = this.#ports
    const pause = backOff(++this.#failures, clock)
    const code = error instanceof AgentError ? { code: ercText(error.extendedResultCode) } : {}
    const told = { action: action?.do ?? 'observe', why: error.message, ...code, retryInMs: Math.round(pause) }
    events.tell({ event: 'action.failed', ...told })
    if (seen?.request) this.#once.settle(seen.request, await outcomeOf(this.#ports.journal, seen.request, error))
    if (error instanceof AgentError) {
      const isOver = action !== undefined && isForGood(error, action, this.#failures)
      if (isOver && seen && (await giveUp(this.#ports, action, error, seen.boot, signal))) {
        this.#failures = 0
        return
      }
      if (this.#failures === MAX_FAILURES) await this.#complain(failureOf(error, 'apply'), seen?.attempt, signal)
    }
    // Not with `retrying`: news end this pause, and what is done after it is decided afresh.
    await this.#wakeup.wait(pause, clock, signal)
  }

  /** Reports from a device that can do nothing else, not even keep a journal. */
  async #complain(result: InstallResult, attempt: Attempt | undefined, signal: AbortSignal): Promise<void> {
    if (!attempt?.own) return this.#twin.complain(result, signal)
    if (!attempt.reported)
      await this.#twin.tell(reporterOf(this.#options.reporters, attempt).final(attempt, result), signal)
  }

  /** From the twin, or from someone who asks once. */
  #onNews(request?: News): void {
    const doing = this.#doing
    const news: News | undefined = request ?? (doing && newsOf(this.#twin.deployment, doing.seen))
    if (doing && news && INTERRUPTS[doing.action.do][news] === 'stops') doing.abort.abort(new Interrupted(news))
    else this.#wakeup.wake()
  }
}
