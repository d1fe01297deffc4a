import { AgentError } from '../../src/domain/errors.ts'
import type { StepResult } from '../../src/domain/step-record.ts'
import type { StepOrder, Verb } from '../../src/ports/steps.ts'

/** How a step behaves; it stands in the signed manifest. */
export interface StepSpec {
  readonly handler?: string
  /** Result codes; 0 fails. Default: 500, 600, 700. */
  readonly download?: number
  readonly install?: number
  readonly apply?: number
  /** It is on the device from the start. */
  readonly there?: true
  /** It cannot say whether it is installed. */
  readonly silent?: true
  /** It is installed only when it was applied. */
  readonly twoStages?: true
  /** So many downloads do not end by themselves. */
  readonly hangs?: number
}

interface Recorded {
  readonly what: string
  readonly boot: number
  readonly perform: () => StepResult
  performed?: StepResult
  hangs?: true
  outcome?: StepResult
}

/**
 * The step service in memory. What it records outlives a power cut: an order has its effect once, and one that was cut off is
 * unknown. When only the agent dies, the order goes on.
 */
export class FakeSteps {
  /** `install 0`, `apply 0`, in order: what has really happened. */
  readonly effects: string[] = []
  /** Orders whose outcome nobody knew. */
  readonly unknown: string[] = []
  readonly asked: Verb[] = []
  /** Steps whose running download was cancelled. */
  readonly cancelled: string[] = []
  /** Nothing stays installed. */
  forgets = false
  readonly #orders = new Map<string, Recorded>()
  readonly #installed = new Set<string>()
  #hung = 0
  readonly #boot: () => number
  readonly #at: <T>(point: string, work: () => Promise<T>) => Promise<T>
  readonly #onEffect: () => void

  constructor(boot: () => number, at: <T>(point: string, work: () => Promise<T>) => Promise<T>, onEffect: () => void) {
    this.#boot = boot
    this.#at = at
    this.#onEffect = onEffect
  }

  /** A download that does not end is running. */
  get isHanging(): boolean {
    return [...this.#orders.values()].some(({ hangs, outcome }) => hangs && !outcome)
  }

  async run(order: StepOrder, progress: (percent: number) => void, signal: AbortSignal): Promise<StepResult> {
    const { id, verb, signed } = order
    const found = this.#orders.get(id)
    const what = JSON.stringify([signed.manifest, keyOf(order), verb])
    // As the step service: without its text, an order can only be found again.
    if (signed.manifest === '' && !found) throw new AgentError('STEP_REFUSED', 'the order was never begun')
    if (signed.manifest !== '' && found && found.what !== what)
      throw new AgentError('STEP_REFUSED', 'this id belongs to another order')
    if (found?.hangs && !found.outcome && found.boot === this.#boot()) return await aborted(signal)
    if (found) return this.#again(found, order)
    this.asked.push(verb)
    const spec = specOf(order)
    const key = keyOf(order)
    if (verb === 'isInstalled') {
      if (spec.silent) return result(0, 'it cannot say')
      return result(spec.there || (this.#installed.has(key) && !this.forgets) ? 900 : 901)
    }
    if (verb === 'cancel') return this.#cancel(key)
    // One order after the other.
    if (this.isHanging) return await aborted(signal)
    const record: Recorded = { what, boot: this.#boot(), perform: () => this.#perform(verb, key, spec) }
    this.#orders.set(id, record)
    await this.#at('begun', async () => {})
    progress(50)
    if (verb === 'download' && this.#hung < (spec.hangs ?? 0)) {
      this.#hung += 1
      record.hangs = true
      return await aborted(signal)
    }
    record.performed = record.perform()
    await this.#at('done', async () => {})
    record.outcome = record.performed
    return record.outcome
  }

  #cancel(key: string): StepResult {
    for (const record of this.#orders.values()) {
      if (!record.hangs || record.outcome || !record.what.includes(`"${key}"`)) continue
      record.outcome = result(-1, 'cancelled')
      this.cancelled.push(key)
    }
    return result(800)
  }

  #perform(verb: Verb, key: string, spec: StepSpec): StepResult {
    if (verb === 'download') return result(spec.download ?? 500)
    const code = verb === 'install' ? (spec.install ?? 600) : (spec.apply ?? 700)
    if (code === 603) return result(code, 'nothing to do')
    this.#onEffect()
    this.effects.push(`${verb} ${key}`)
    if (code > 0 && (verb === 'apply' || !spec.twoStages)) this.#installed.add(key)
    return result(code, code > 0 ? '' : 'the step says no')
  }

  #again(found: Recorded, order: StepOrder): StepResult {
    if (found.outcome) return found.outcome
    if (found.boot !== this.#boot()) {
      this.unknown.push(`${order.verb} ${keyOf(order)}`)
      throw new AgentError('STEP_UNKNOWN', 'the power went off during the order')
    }
    // Only the agent died, and the order went on.
    found.outcome = found.performed ?? found.perform()
    return found.outcome
  }
}

/** As in `effects`: the path, and the component if there is one. */
const keyOf = ({ path, component }: StepOrder): string => `${path.join('.')}${component ? `@${component.id}` : ''}`

function specOf({ signed, path: [at = 0, below] }: StepOrder): StepSpec {
  const text = below === undefined ? signed.manifest : JSON.parse(signed.detached[0] ?? '').updateManifest
  return JSON.parse(text).instructions.steps[below ?? at].handlerProperties
}

const aborted = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }))

const result = (resultCode: number, resultDetails = ''): StepResult => ({
  resultCode,
  extendedResultCode: resultCode > 0 ? 0 : 0x30500206,
  resultDetails,
})
