import type { Order, Verified } from './domain/deployment.ts'
import { AgentError } from './domain/errors.ts'
import type { Ports } from './ports.ts'
import { gateWhole } from './trust/gate.ts'
import { type Fetched, judge, type Terms, type Verdict } from './trust/order.ts'
import type { Anchors } from './trust/root-key-package.ts'
import { packageUrlOf, type Service } from './trust/service.ts'
import { type FetchOptions, fetchFile } from './workflow/fetch.ts'
import { type Keys, RootKeys } from './workflow/root-keys.ts'

export interface VerifierOptions extends Omit<Terms, 'ring'> {
  readonly anchors: Anchors
  readonly fetch: FetchOptions
  /** Told when a verified manifest was made, in milliseconds since 1970: it is later than that. */
  readonly onTime?: (time: number) => void
}

type Needed = Pick<Ports, 'content' | 'clock' | 'log' | 'keyStore'>

/** From what the twin says to an order: fetches what the verdict needs, root key package first, and has it judged. */
export class OrderVerifier {
  readonly #ports: Needed
  readonly #options: VerifierOptions
  readonly #keys: RootKeys
  /** A twin is read anew on every connection, and mostly says what it said before: that is fetched for once. */
  #last: { readonly asked: string; readonly order: Order } | undefined

  constructor(ports: Needed, options: VerifierOptions) {
    this.#ports = ports
    this.#options = options
    this.#keys = new RootKeys(ports, options.anchors)
  }

  /** Errors: AgentError `PACKAGE_STORE`, when this machine cannot say anything now; the signal's reason on abort. */
  async verify(service: Service, signal: AbortSignal): Promise<Order> {
    const asked = JSON.stringify(service)
    if (this.#last?.asked === asked) return this.#last.order
    this.#last = undefined
    const order = await this.#verify(service, signal)
    this.#last = { asked, order }
    return order
  }

  async #verify(service: Service, signal: AbortSignal): Promise<Order> {
    const keys = await this.#keysFor(service, signal)
    const terms = { ...this.#options, ring: 'ring' in keys ? keys.ring : NO_KEYS }
    const fetched: Fetched = 'ring' in keys ? { extraCodes: keys.extraCodes } : { failure: keys.failure }
    let verdict = judge(service, terms, fetched)
    if (verdict.needs) verdict = judge(service, terms, { ...fetched, ...(await this.#fetch(verdict.needs, signal)) })
    this.#warn(service, verdict)
    const created = Date.parse(verdict.evidence.createdDateTime ?? '')
    if (!Number.isNaN(created)) this.#options.onTime?.(created)
    if (!verdict.order) throw new Error('a verdict that needs something twice')
    return verdict.order
  }

  /** The order that comes of an error which would not go away. */
  refused(service: Service, failure: AgentError): Order {
    const { order } = judge(service, { ...this.#options, ring: NO_KEYS }, { failure })
    if (!order) throw new Error('a failure makes an order')
    return order
  }

  async #keysFor(service: Service, signal: AbortSignal): Promise<Keys> {
    if (service.action === 'cancel') return { ring: NO_KEYS, extraCodes: [] }
    let url: string | undefined
    try {
      url = packageUrlOf(service)
    } catch (error) {
      if (error instanceof AgentError) return { failure: error }
      throw error
    }
    return this.#keys.forOrder(url, signal)
  }

  async #fetch({ file, url }: NonNullable<Verdict['needs']>, signal: AbortSignal): Promise<Fetched> {
    const bytes = fetchFile(this.#ports, { url, size: file.sizeInBytes }, this.#options.fetch, signal)
    try {
      return { detached: (await gateWhole(bytes, file)) satisfies Verified<Buffer> }
    } catch (error) {
      signal.throwIfAborted()
      if (error instanceof AgentError) return { failure: error }
      throw error
    }
  }

  #warn({ workflow }: Service, { evidence }: Verdict): void {
    for (const { name, outcome, detail } of evidence.checks) {
      if (outcome === 'warn')
        this.#ports.log.warn('order.warning', { workflowId: workflow.id, check: name, why: detail })
    }
  }
}

const NO_KEYS = { rootKeys: [], disabledRootKeys: [], disabledSigningKeys: [] }
