import { pathToFileURL } from 'node:url'
import type { Attempt } from '../../domain/attempt.ts'
import type { OnceDeployment, Request, Workflow } from '../../domain/deployment.ts'
import { AgentError, asAgentError, Fault, messageOf } from '../../domain/errors.ts'
import type { Hosts } from '../../domain/hosts.ts'
import { ercText } from '../../domain/result-codes.ts'
import { webUrl } from '../../domain/web-url.ts'
import type { Ports } from '../../ports/ports.ts'
import type { Tried } from '../../ports/tried.ts'
import { deadline } from '../../timing/deadline.ts'
import type { Loop, OnceSource, Outcome, Recalled } from '../once-source.ts'
import { OneRequest } from '../one-request.ts'
import { Folder, slow } from './folder.ts'
import { ListMemory } from './list-memory.ts'
import { StickMemory } from './stick-memory.ts'

export interface LocalPolicy {
  /** Whether a bundle without a signed deployment is taken: SWUpdate's own signature alone protects then. */
  readonly allowBundles: boolean
  /** Where bundles may come from. */
  readonly hosts: Hosts
}

/** `begun`: the view and the events say how it goes on. */
export type LocalAnswer =
  | { readonly is: 'begun'; readonly workflowId: string }
  | { readonly is: 'refused'; readonly why: string; readonly code: string }

/** Who asks: a person wants it now; a stick that stays must not bring the same once more; one that came back may. */
export type Asker = 'person' | 'stick' | 'returned stick'

export interface LocalInstalls {
  /** See `LocalSide.install`. */
  install(target: string, by?: Asker): Promise<LocalAnswer>
  /** What the process before has begun was tried too. Call it before the agent runs, and now and then. Never rejects with an AgentError. */
  remember(): Promise<void>
  /** The stick was taken away: what it brought may be tried again. Never rejects with an AgentError. */
  forget(): Promise<void>
  /** Why nothing can begin now. */
  busy(): string | undefined
}

type Needed = Pick<Ports, 'content' | 'clock' | 'log' | 'events' | 'journal'> & { readonly tried: Tried }

const LOCAL = 'local'

/** Milliseconds for everything that is read before an update begins. */
const JUDGED_WITHIN = 120_000

const NEVER = new AbortController().signal

/** What somebody at the device brings: a folder with a signed deployment, or a bundle. */
export class LocalSide implements OnceSource, LocalInstalls {
  readonly #ports: Needed
  readonly #policy: LocalPolicy
  readonly #loop: Loop
  readonly #one: OneRequest
  readonly #stick: StickMemory
  readonly #lists: ListMemory
  #isReading = false

  constructor(ports: Needed, policy: LocalPolicy, loop: Loop) {
    this.#ports = ports
    this.#policy = policy
    this.#loop = loop
    this.#one = new OneRequest(ports.clock, loop)
    this.#stick = new StickMemory(ports.tried, ports.journal, ports.log)
    this.#lists = new ListMemory(ports, loop)
  }

  get request(): Request | undefined {
    return this.#one.request
  }

  take(request: Request): boolean {
    return this.#one.take(request)
  }

  settle(request: Request, outcome: Outcome): void {
    this.#one.settle(request, outcome)
  }

  recalled(attempt: Attempt): Recalled | undefined {
    return this.#lists.recalled(attempt)
  }

  recall(attempt: Attempt, signal: AbortSignal): Promise<void> {
    return this.#lists.recall(attempt, signal)
  }

  /**
   * `target`: the absolute path of a folder or of a `.swu` file, or an https URL. Answers every request and never throws.
   */
  async install(target: string, by: Asker = 'person'): Promise<LocalAnswer> {
    const { clock, events, log } = this.#ports
    const workflow = { action: 3, id: `local-${clock.now().toISOString().replaceAll(':', '')}` }
    try {
      await this.#begin(target, workflow, by)
      return { is: 'begun', workflowId: workflow.id }
    } catch (thrown) {
      const error = asAgentError(thrown)
      if (error instanceof Fault) log.error('local.bug', { why: messageOf(thrown), stack: (thrown as Error).stack })
      const refusal = { why: error.message, code: ercText(error.extendedResultCode) }
      // What is there already is nothing that somebody has to mend.
      const isDone = error.code === 'LOCAL_INSTALLED' || error.code === 'LOCAL_TRIED'
      if (isDone) log.info('local.nothing-to-do', refusal)
      else events.tell({ event: 'deployment.refused', workflowId: workflow.id, ...refusal })
      return { is: 'refused', ...refusal }
    }
  }

  async #begin(target: string, workflow: Workflow, by: Asker): Promise<void> {
    this.#mustBeFree()
    this.#isReading = true
    const over = deadline(this.#ports.clock, JUDGED_WITHIN, () => slow(target), NEVER)
    const folder = isBundle(target) ? undefined : new Folder(target, this.#ports, this.#loop)
    let asked: Asked
    try {
      asked = folder ? await folder.read(workflow, over.signal) : this.#bundle(target, workflow.id)
    } finally {
      over.clear()
      this.#isReading = false
    }
    if (by === 'stick') await this.#stick.mustBeNew(asked.fingerprint)
    const objection = this.#loop.objection(asked.update)
    if (objection) {
      // Else the stick would undo a later deployment of another version.
      if (by !== 'person') await this.#stick.note(asked.fingerprint)
      throw objection
    }
    await folder?.mustHave(asked)
    this.#mustBeFree()
    if (asked.list) this.#lists.know({ ...asked.list, workflow, fingerprint: asked.fingerprint })
    const answer = await this.#one.offer({ kind: 'once', origin: LOCAL, workflow, ...asked })
    if (answer.is === 'begun' || answer.is === 'slow') return void (await this.#stick.note(asked.fingerprint))
    const why = 'why' in answer ? answer.why : 'the agent is busy; nothing was begun'
    throw new AgentError('LOCAL_BUSY', answer.is === 'uncertain' ? `it may have begun all the same: ${why}` : why)
  }

  remember(): Promise<void> {
    return this.#stick.remember()
  }

  forget(): Promise<void> {
    return this.#stick.clear()
  }

  busy(): string | undefined {
    const isBusy = this.#isReading || this.#one.request !== undefined
    return isBusy ? 'another local deployment is being read' : this.#loop.busy()
  }

  #mustBeFree(): void {
    const why = this.busy()
    if (why !== undefined) throw new AgentError('LOCAL_BUSY', why)
  }

  #bundle(target: string, id: string): Asked {
    const { allowBundles, hosts } = this.#policy
    if (!allowBundles) {
      const why = 'a bundle without a signed deployment is not taken (piAdu.local.allowBundles)'
      throw new AgentError('LOCAL_OFF', why)
    }
    if (target.startsWith('/'))
      return { fingerprint: `${LOCAL} ${id}`, update: { url: pathToFileURL(target).href, local: true } }
    const { url, flaw } = webUrl(target)
    if (!url) throw new AgentError('URL_BAD', `the URL ${flaw}`)
    if (!url.secure) throw new AgentError('URL_BAD', 'the URL begins with http:, only https: is taken')
    if (url.credentials) throw new AgentError('URL_BAD', 'the URL has a user name in it, which the journal would keep')
    // The content port checks the host, and each redirect.
    if (hosts.refusal(url, true)) {
      throw new AgentError('HOST_NOT_ALLOWED', `${url.host} is not allowed on this device (${hosts.setting})`)
    }
    return { fingerprint: `${LOCAL} ${id}`, update: { url: url.href, local: true } }
  }
}

type Asked = Pick<OnceDeployment, 'fingerprint' | 'update' | 'list'>

const isBundle = (target: string): boolean => /^[a-z]+:/i.test(target) || target.endsWith('.swu')
