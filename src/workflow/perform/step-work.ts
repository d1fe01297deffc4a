import { randomUUID } from 'node:crypto'
import type { Attempt } from '../../domain/attempt.ts'
import { AgentError, messageOf } from '../../domain/errors.ts'
import { type ErrorCode, EXTENDED_RESULT_CODE, RESULT_CODE } from '../../domain/result-codes.ts'
import { changed, type StepRecord, type StepResult } from '../../domain/step-record.ts'
import { cut } from '../../domain/text.ts'
import type { Verb } from '../../ports/steps.ts'
import { backOff } from '../../timing/back-off.ts'
import { retrying } from '../../timing/retrying.ts'
import type { Orderable } from '../action.ts'
import { conclude } from '../ending.ts'
import { ended, stepFailed } from '../results.ts'
import { attemptOf, type Context } from './context.ts'

/** Tries to reach the step service, in a row. */
const TRIES = 5

/** Milliseconds that the agent waits for the answer to a cancel. */
const CANCEL_PATIENCE = 10_000

/** The details of a step that are kept, in bytes. */
const MAX_DETAILS = 1024

/** One step that is at work: its record in the journal, and its orders to the step service. */
export class StepWork {
  readonly #context: Context
  readonly #at: number
  readonly #order: Orderable | undefined
  #attempt: Attempt
  #percent = -1

  constructor(context: Context, at: number, order: Orderable | undefined) {
    this.#context = context
    this.#at = at
    this.#order = order
    this.#attempt = attemptOf(context)
  }

  get attempt(): Attempt {
    return this.#attempt
  }

  get record(): StepRecord {
    const record = this.#attempt.steps[this.#at]
    if (!record) throw new Error('nextAction named a step, and the journal has no such step')
    return record
  }

  /** The folder of its files, for the port `WorkFolder`. */
  get folder() {
    return { workflowId: this.#attempt.workflow.id, path: this.record.path }
  }

  /** In the journal; everything that follows builds on it. */
  async write(change: (record: StepRecord) => StepRecord): Promise<void> {
    this.#attempt = { ...this.#attempt, steps: changed(this.#attempt.steps, this.#at, change) }
    await this.#context.ports.journal.write(this.#attempt)
  }

  /** Records the id of the next order for `verb`, so that it is never given under two. */
  async announce(verb: 'download' | 'install' | 'apply', change: Partial<StepRecord> = {}): Promise<void> {
    const order = { verb, id: randomUUID() }
    // Whether the step may have run, a download does not say.
    if (verb === 'download') return this.write(record => ({ ...record, order, ...change }))
    // What is begun now is known.
    await this.write(({ mayHaveRun: _, wants: _wish, unapplied: _unapplied, ...record }) => ({
      ...{ ...record, state: 'running', starts: record.starts + 1, order },
      ...change,
    }))
  }

  /**
   * Gives an order, or attaches to the one with this id. Errors: those of the port; `STEP_SERVICE` after some tries.
   */
  async run(verb: Verb, id: string, signal = this.#context.signal): Promise<StepResult> {
    const { ports } = this.#context
    const { component } = this.#order?.step ?? {}
    const order = {
      ...{ id, verb, path: this.record.path, folder: ports.workFolder.where(this.folder) },
      // Without the text, only an order that is known can be found again.
      signed: this.#order?.signed ?? { manifest: '', signature: '', detached: [] },
      ...(component ? { component } : {}),
    }
    const pause = (error: unknown, failures: number) =>
      error instanceof AgentError && error.code === 'STEP_SERVICE' && failures < TRIES
        ? backOff(failures, ports.clock)
        : undefined
    const onRetry = (error: unknown) => ports.log.warn('step-service.away', { why: messageOf(error) })
    const give = () => ports.steps.run(order, percent => this.progress(percent), signal)
    const result = await retrying(give, { pause, onRetry }, ports.clock, signal)
    return { ...result, resultDetails: cut(result.resultDetails, MAX_DETAILS) }
  }

  /** Ends the step's order that runs. After an abort, which ends only the agent's waiting. A failure is logged: nothing depends on it. */
  async cancel(): Promise<void> {
    const { clock, log } = this.#context.ports
    const late = new AbortController()
    const cancelled = this.run('cancel', randomUUID(), late.signal)
    const patience = clock.sleep(CANCEL_PATIENCE, late.signal).then(() => {
      throw new Error('no answer yet')
    })
    try {
      await Promise.race([cancelled, patience])
    } catch (error) {
      log.warn('step.not-cancelled', { step: this.#at + 1, why: messageOf(error) })
    } finally {
      late.abort()
      await Promise.allSettled([cancelled, patience])
    }
  }

  /** Errors: AgentError `STEP_REFUSED`, `STEP_SERVICE`. */
  async isInstalled(): Promise<'yes' | 'no' | 'unknown'> {
    try {
      // A question may be asked again, so its id is not kept.
      const { resultCode, resultDetails } = await this.run('isInstalled', randomUUID())
      if (resultCode === RESULT_CODE.isInstalled) return 'yes'
      if (resultCode === RESULT_CODE.isNotInstalled) return 'no'
      this.#context.ports.log.warn('step.cannot-say', { step: this.#at + 1, resultCode, why: resultDetails })
    } catch (error) {
      if (!(error instanceof AgentError) || !['STEP_UNKNOWN', 'TIMED_OUT'].includes(error.code)) throw error
      this.#context.ports.log.warn('step.cannot-say', { step: this.#at + 1, why: error.message })
    }
    return 'unknown'
  }

  /** The step is over, and the list goes on. */
  async done(result: StepResult, change: Partial<StepRecord> = {}): Promise<void> {
    const state = isSkipped(result) ? 'skipped' : 'done'
    await this.write(({ mayHaveRun: _, wants: _wish, unapplied: _unapplied, order: _order, ...record }) => ({
      ...{ ...record, state, result },
      ...change,
    }))
    this.#tellEnd(result)
  }

  /** The step and the list are over. One write: a list that ends must not go on after a power cut. */
  async fail(result: StepResult): Promise<void> {
    const { ports, seen, signal } = this.#context
    const own = { ...result, resultCode: RESULT_CODE.failure }
    const { steps } = this.#attempt
    const failed = changed(steps, this.#at, ({ wants: _, unapplied: _unapplied, ...record }) => ({
      ...{ ...record, state: 'failed', result: own },
    }))
    const overall = stepFailed(steps, this.#at, own)
    this.#tellEnd(own)
    await conclude(ports, ended({ ...this.#attempt, steps: failed }, overall, ports.clock.now()), seen.boot, signal)
  }

  /** The step service does not do this, and says why. */
  refuse({ extendedResultCode, message }: AgentError): Promise<void> {
    return this.fail({ resultCode: 0, extendedResultCode, resultDetails: message })
  }

  failWith(code: ErrorCode, resultDetails: string): Promise<void> {
    return this.fail({ resultCode: 0, extendedResultCode: EXTENDED_RESULT_CODE[code], resultDetails })
  }

  begin(): void {
    const { steps } = this.#attempt
    this.#context.ports.events.tell({ event: 'step.begin', step: this.#at + 1, of: steps.length, ...this.#named() })
  }

  /** Shown, not reported. */
  progress(percent: number): void {
    const whole = Math.max(0, Math.min(100, Math.floor(percent)))
    if (whole === this.#percent) return
    this.#percent = whole
    this.#context.ports.events.tell({ event: 'step.progress', step: this.#at + 1, percent: whole })
  }

  #named() {
    const { handler, component } = this.record
    return { handler, ...(component === undefined ? {} : { component }) }
  }

  #tellEnd({ resultCode, resultDetails }: StepResult): void {
    this.#context.ports.events.tell({ event: 'step.end', step: this.#at + 1, resultCode, resultDetails })
  }
}

const isSkipped = ({ resultCode }: StepResult): boolean =>
  resultCode === RESULT_CODE.installSkipped || resultCode === RESULT_CODE.noComponent
