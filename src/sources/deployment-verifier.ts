import { type FetchOptions, fetchFile } from '../delivery/fetch.ts'
import type { Deployment } from '../domain/deployment.ts'
import { AgentError } from '../domain/errors.ts'
import type { Hosts } from '../domain/hosts.ts'
import { type Capabilities, IMAGES_ONLY, withProperties } from '../handlers/capabilities.ts'
import { type Look, readStepsOn } from '../handlers/read-steps-on.ts'
import type { Content } from '../ports/content.ts'
import type { Ports } from '../ports/ports.ts'
import { Checks } from '../trust/checks.ts'
import { type Fetched, fingerprintOf, judge, type Needed as NeededFile, type Verdict } from '../trust/judge.ts'
import type { Anchors } from '../trust/root-key-package.ts'
import { packageUrlOf, type Service } from '../trust/service.ts'
import type { Terms } from '../trust/terms.ts'
import { verifiedWhole } from '../trust/withheld-end.ts'
import { type CrashGuard, crashLoop, workKey } from './crash-guard.ts'
import { type Keys, RootKeys } from './root-keys.ts'

export interface VerifierOptions extends Omit<Terms, 'ring'> {
  readonly anchors: Anchors
  /** A device that takes images at most. Default: it takes them. */
  readonly steps?: Capabilities
  /** Default: there is nothing but images. */
  readonly look?: Look
  readonly fetch: FetchOptions
  /** Gets the creation time of each verified manifest, in milliseconds since 1970: a lower bound on the current time. */
  readonly onTime?: (time: number) => void
}

/** Where all files of a local deployment are. */
export interface Place {
  readonly content: Content
  readonly hosts: Hosts
}

type Needed = Pick<Ports, 'content' | 'clock' | 'log' | 'events' | 'keyStore'>

/** Turns the twin's request into a deployment: fetches what the verdict needs, the root key package first, and judges it. */
export class DeploymentVerifier {
  readonly #ports: Needed
  readonly #options: VerifierOptions
  readonly #keys: RootKeys
  /** The twin is read on every connection and rarely differs. The files for the same request are fetched only once. */
  #last: { readonly asked: string; readonly deployment: Deployment } | undefined
  readonly #guard: CrashGuard

  constructor(ports: Needed, options: VerifierOptions, guard: CrashGuard) {
    this.#ports = ports
    this.#guard = guard
    this.#options = options
    this.#keys = new RootKeys(ports, options.anchors)
  }

  /**
   * A deployment that repeatedly ends the process during its verification is refused. Errors: AgentError `PACKAGE_STORE` when
   * this machine cannot decide now; the signal's reason on abort.
   */
  async verify(service: Service, signal: AbortSignal): Promise<Deployment> {
    const asked = workKey(service, JSON.stringify(service.workflow))
    if (this.#last?.asked === asked) return this.#last.deployment
    this.#last = undefined
    const deployment = await this.#guarded(asked, service, signal)
    this.#last = { asked, deployment }
    return deployment
  }

  /**
   * A deployment that somebody brings to the device: the same verdict with the same keys, but all files come from `place`, and
   * nothing is remembered, because a folder may be mended. Errors: as `verify`.
   */
  async verifyLocal(service: Service, place: Place, signal: AbortSignal): Promise<Deployment> {
    // Each try has a workflow id of its own, so that cannot tell whether it is the same work.
    return this.#guarded(workKey(['local', fingerprintOf(service)], 'local'), service, signal, place)
  }

  async #guarded(key: string, service: Service, signal: AbortSignal, place?: Place): Promise<Deployment> {
    if (!(await this.#guard.begin(key))) return this.refused(service, crashLoop('verified this deployment'))
    try {
      return await this.#verify(service, signal, place)
    } finally {
      await this.#guard.end(key)
    }
  }

  async #verify(service: Service, signal: AbortSignal, place?: Place): Promise<Deployment> {
    const content = place?.content ?? this.#ports.content
    const keys = await this.#keysFor(service, content, signal)
    const { hosts } = place ?? this.#options
    const terms = { ...this.#options, hosts, ring: 'ring' in keys ? keys.ring : NO_KEYS }
    let fetched: Fetched = 'ring' in keys ? { extraCodes: keys.extraCodes } : { failure: keys.failure }
    let verdict = judge(service, terms, fetched)
    for (let round = 0; round < ROUNDS && verdict.needs; round += 1) {
      fetched = { ...fetched, ...(await this.#fetch(verdict.needs, fetched.detached, content, signal)) }
      verdict = judge(service, terms, fetched)
    }
    this.#warn(service, verdict)
    const created = Date.parse(verdict.evidence.createdDateTime ?? '')
    if (!Number.isNaN(created)) this.#options.onTime?.(created)
    if (!verdict.judged) throw new Error('a verdict that needs files without end')
    const { steps = IMAGES_ONLY, look } = this.#options
    const images = withProperties(steps, this.#options)
    return readStepsOn(verdict.judged, hosts, new Checks(), images, look, signal)
  }

  /** The refused deployment for a permanent error. */
  refused(service: Service, failure: AgentError): Deployment {
    const { judged } = judge(service, { ...this.#options, ring: NO_KEYS }, { failure })
    if (judged?.kind === undefined || judged.kind === 'deploy') throw new Error('a failure is a refusal')
    return judged
  }

  async #keysFor(service: Service, content: Content, signal: AbortSignal): Promise<Keys> {
    if (service.action === 'cancel') return { ring: NO_KEYS, extraCodes: [] }
    let url: string | undefined
    try {
      url = packageUrlOf(service)
    } catch (error) {
      if (error instanceof AgentError) return { failure: error }
      throw error
    }
    return this.#keys.forDeployment(url, signal, content)
  }

  async #fetch(
    files: readonly NeededFile[],
    have: readonly Buffer[] = [],
    content: Content,
    signal: AbortSignal,
  ): Promise<Fetched> {
    const detached = [...have]
    const ports = { ...this.#ports, content }
    try {
      for (const { file, url } of files) {
        const wanted = { url, origin: 'twin', size: file.sizeInBytes } as const
        detached.push(await verifiedWhole(fetchFile(ports, wanted, this.#options.fetch, signal), file))
      }
      return { detached }
    } catch (error) {
      signal.throwIfAborted()
      if (error instanceof AgentError) return { failure: error }
      throw error
    }
  }

  #warn({ workflow }: Service, { evidence }: Verdict): void {
    for (const { name, outcome, detail } of evidence.checks) {
      if (outcome === 'warn')
        this.#ports.events.tell({ event: 'deployment.warning', workflowId: workflow.id, check: name, why: detail })
    }
  }
}

/** How often a verdict may need files: see `Verdict.needs`. */
const ROUNDS = 2

const NO_KEYS = { rootKeys: [], disabledRootKeys: [], disabledSigningKeys: [] }
