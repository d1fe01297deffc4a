import { join } from 'node:path'
import { AgentError, asAgentError } from '../domain/errors.ts'
import type { Log } from '../ports/log.ts'
import type { Runner } from '../ports/runner.ts'
import type { StepOrder } from '../ports/steps.ts'
import { capabilitiesOf } from './capabilities.ts'
import { KnownComponents } from './components.ts'
import { KeyMemory } from './key-memory.ts'
import type { Launcher } from './launch.ts'
import { CANCELLED, ended, hasFailed, isOver, NEVER_BEGUN, OTHER_ORDER, recorded, refusal } from './order-ends.ts'
import { deploymentKey, hashOf, stepKey, stepName } from './order-keys.ts'
import { type End, isUnknown, OrderRecords } from './order-records.ts'
import { progress, type Run, type Taken } from './order-run.ts'
import type { Request } from './protocol.ts'
import { readSettings, type StepSettings } from './settings.ts'
import { StepFolders } from './step-folder.ts'
import { Stopping } from './stopping.ts'
import { ownerOf, runAsOf } from './users.ts'
import { anchorsIn, type VerifiedOrder, verifiedOrder } from './verified-order.ts'
import { VersionMemory } from './version-memory.ts'
import type { Job, Worker, Workers } from './worker.ts'

/** Orders that run or wait: the agent has one at a time, and a cancel beside it. */
export const MAX_ORDERS = 6

/** Characters of `resultDetails` that are passed on. */
const MAX_DETAILS = 4000

export interface OrdersOptions {
  /** A folder that only this service may write; it outlives updates. */
  readonly state: string
  /** The file with the settings. It is read for each order. */
  readonly settings: string
  readonly workers: Workers
  readonly launcher: Launcher
  /** Of the owner's program that lists components. */
  readonly runner?: Runner
}

/** Verifies orders and carries them out, one after another, each at most once. */
export class Orders {
  readonly #options: OrdersOptions
  readonly #log: Log
  readonly #keys: KeyMemory
  readonly #versions: VersionMemory
  readonly #records: OrderRecords
  readonly #folders: StepFolders
  readonly #components: KnownComponents
  readonly #stopping = new Stopping()
  readonly #runs = new Map<string, Run>()
  /** The ends of the newest verification and of the newest order: each begins after the one before. */
  #verified: Promise<unknown> = Promise.resolve()
  #done: Promise<unknown> = Promise.resolve()

  constructor(options: OrdersOptions, log: Log) {
    const { state } = options
    this.#options = options
    this.#log = log
    this.#components = new KnownComponents(options.runner)
    this.#keys = new KeyMemory(join(state, 'root-keys.json'))
    this.#versions = new VersionMemory(join(state, 'versions.json'), log)
    this.#records = new OrderRecords(join(state, 'orders'))
    this.#folders = new StepFolders(join(state, 'work'))
  }

  /** Whether an order runs or waits. */
  get busy(): boolean {
    return this.#runs.size > 0
  }

  /** Begins no program any more; the one that runs may end. */
  stop(): void {
    this.#stopping.begin()
  }

  /**
   * Begins the order, or attaches to it. Without its text it can only be found again. `ended` never rejects; undefined: this service stops
   * before the end. After `leave`, which changes nothing for the order, `onProgress` is not called any more.
   */
  take(request: Request, onProgress: (percent: number) => void): Taken {
    const { id, signed } = request.order
    const hasText = signed.manifest !== ''
    const what = hashOf(request.order)
    const found = this.#runs.get(id)
    if (!found && !hasText) return { ended: this.#endOf(id), leave: () => {} }
    if (found && hasText && found.what !== what)
      return { ended: Promise.resolve(refusal(OTHER_ORDER())), leave: () => {} }
    const run = found ?? this.#start(request, what)
    if (!run) return { ended: Promise.resolve(refusal(BUSY())), leave: () => {} }
    run.watchers.add(onProgress)
    if (run.percent !== undefined) onProgress(run.percent)
    return { ended: run.ended, leave: () => run.watchers.delete(onProgress) }
  }

  /** Of an order that does not run now. An agent whose deployment was taken back has no text any more, only the id. */
  async #endOf(id: string): Promise<End> {
    try {
      const known = await this.#records.read(id)
      return known ? recorded(id, known) : refusal(NEVER_BEGUN(id))
    } catch (error) {
      return refusal(asAgentError(error))
    }
  }

  #start(request: Request, what: string): Run | undefined {
    if (this.#runs.size >= MAX_ORDERS) return undefined
    const { id } = request.order
    const run: Run = {
      what,
      control: new AbortController(),
      watchers: new Set(),
      ended: Promise.resolve(refusal(BUSY())),
    }
    this.#runs.set(id, run)
    const whole = this.#whole(request, run).catch(error => refusal(asAgentError(error)))
    run.ended = whole.then(end => {
      this.#runs.delete(id)
      if (run.isInterrupted) return undefined
      const { verb, path } = request.order
      this.#log.info('steps.order-ended', { id, verb, path, ...('result' in end ? end.result : end.refused) })
      return end
    })
    return run
  }

  async #whole({ order, rootKeyPackage }: Request, run: Run): Promise<End> {
    const known = await this.#records.read(order.id)
    if (known && !isUnknown(known, run.what)) return ended(order.id, run.what, known)
    const verification = this.#verified.then(() => this.#verify(order, rootKeyPackage))
    this.#verified = verification.catch(() => {})
    const verified = await verification.catch(error => {
      if (known) return undefined
      throw error
    })
    if (!verified || (known && !this.#isRepeatable(verified))) return ended(order.id, run.what, known ?? {})
    run.step = stepKey(order)
    if (order.verb === 'cancel') this.#cancel(run)
    const work = this.#done.then(() => this.#carryOut(order, verified, run))
    this.#done = work.catch(() => {})
    return await work
  }

  #isRepeatable({ step }: Checked): boolean {
    return this.#options.workers[step.plan.work.is]?.isRepeatable === true
  }

  async #verify(order: StepOrder, rootKeyPackage: string | undefined): Promise<Checked> {
    const settings = await readSettings(this.#options.settings)
    const ring = await this.#keys.ring(anchorsIn(settings), rootKeyPackage)
    const host = await capabilitiesOf(settings)
    const device = async () => ({ ...host, ...(await this.#components.of(order.signed, settings)) })
    const verified = await verifiedOrder(order, { settings, ring, host, device })
    if (!settings.allowDowngrade) await this.#versions.check(verified.updateId)
    return { ...verified, settings }
  }

  /** The same step's other orders end: those that wait have not begun. */
  #cancel(canceller: Run): void {
    for (const run of this.#runs.values()) if (run !== canceller && run.step === canceller.step) run.control.abort()
  }

  async #carryOut(order: StepOrder, { settings, updateId, step }: Checked, run: Run): Promise<End> {
    const { signal } = run.control
    const { verb, id } = order
    const interrupted = (): void => {
      run.isInterrupted = true
    }
    this.#stopping.check(interrupted)
    // A look changes nothing, so it may be repeated as often as anyone likes.
    const isRecorded = verb !== 'isInstalled'
    if (signal.aborted) {
      const end = { result: { ...CANCELLED, resultDetails: 'cancelled before it began' } }
      if (isRecorded) await this.#record(id, run.what, end)
      return end
    }
    const { plan, handler, component } = step
    const runAs = runAsOf(step, settings)
    const files = verb === 'isInstalled' || verb === 'cancel' ? plan.probe : [...plan.probe, ...plan.payload]
    const owner = runAs === undefined ? undefined : await ownerOf(runAs, signal)
    const names = { deployment: deploymentKey(order), step: stepName(order) }
    const folder = await this.#folders.prepare(names, files, order.folder, owner)
    const job: Job = {
      ...{ work: plan.work, plan, handler, updateId, folder, settings },
      ...(component ? { component } : {}),
      ...(runAs === undefined ? {} : { runAs }),
      state: join(this.#options.state, plan.work.is),
      progress: percent => progress(run, percent),
      launch: this.#stopping.around(this.#options.launcher(folder, settings.limits), interrupted),
    }
    if (isRecorded) {
      if (verb === 'install' || verb === 'apply') await this.#versions.note(updateId)
      await this.#records.begin(id, run.what)
    }
    this.#log.info('steps.order-begun', { id, verb, handler, path: order.path, runAs: runAs ?? 'service' })
    const end = await this.#work(job, verb, signal)
    if (run.isInterrupted) return end
    // Before the result is kept, which needs room.
    if (hasFailed(end)) await this.#folders.makeRoom(folder).catch(() => {})
    if (hasFailed(end) && isRecorded) await this.#folders.removeCopies(folder, plan.payload).catch(() => {})
    if (isRecorded) await this.#record(id, run.what, end)
    if (isOver(verb, end)) await this.#folders.remove(folder).catch(() => {})
    return end
  }

  async #work(job: Job, verb: StepOrder['verb'], signal: AbortSignal): Promise<End> {
    const worker = this.#options.workers[job.work.is] as Worker | undefined
    if (!worker)
      return refusal(new AgentError('STEP_REFUSED', `the step service does no work of the kind "${job.work.is}"`))
    try {
      const { resultCode, extendedResultCode, resultDetails } = await worker.run(verb, job, signal)
      return { result: { resultCode, extendedResultCode, resultDetails: resultDetails.slice(0, MAX_DETAILS) } }
    } catch (error) {
      if (error instanceof AgentError) return refusal(error)
      // A fault in the worker: it may have begun.
      this.#log.error('steps.fault', { why: error instanceof Error ? (error.stack ?? error.message) : String(error) })
      return refusal(
        new AgentError('STEP_UNKNOWN', `the step's work ended in a fault of the step service: ${String(error)}`),
      )
    }
  }

  /** The result counts even if it cannot be kept. */
  async #record(id: string, what: string, end: End): Promise<void> {
    try {
      await this.#records.end(id, what, end)
    } catch (error) {
      this.#log.error('steps.result-not-kept', { id, why: String(error) })
    }
  }
}

type Checked = VerifiedOrder & { readonly settings: StepSettings }

const BUSY = () => new AgentError('STEP_SERVICE', `the step service has ${MAX_ORDERS} orders already`)
