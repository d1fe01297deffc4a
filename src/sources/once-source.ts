import type { Attempt } from '../domain/attempt.ts'
import type { CommandName } from '../domain/command.ts'
import type { Deploy, Deployment, FirmwareUpdate, Named, Origin, Request } from '../domain/deployment.ts'
import { AgentError } from '../domain/errors.ts'
import type { Service } from '../trust/service.ts'
import type { Place } from './deployment-verifier.ts'

/**
 * The outcome of a request. `refused`: something is in the way. `failed`: nothing was begun. `uncertain`: a write failed but
 * may still have reached the disk.
 */
export type Outcome =
  | { readonly is: 'begun' }
  | { readonly is: 'refused' | 'failed' | 'uncertain'; readonly why: string }

/** An origin that asks once and waits for an answer, such as a direct method. One request at a time. */
export interface OnceSource {
  readonly request: Request | undefined
  /** The loop begins `request`; false when its caller has been answered meanwhile, so it must not begin. */
  take(request: Request): boolean
  /** Answers the caller; does nothing for a request that was answered before. */
  settle(request: Request, outcome: Outcome): void
  /** What this process knows of the list that `attempt`, one of this origin, carries out; undefined: nothing yet. Only reads. */
  recalled?(attempt: Attempt): Recalled | undefined
  /** Finds out, after which `recalled` knows it. Rejects only with the reason of `signal`. */
  recall?(attempt: Attempt, signal: AbortSignal): Promise<void>
}

/** The list that an attempt carries out, or why it cannot be read any more. */
export type Recalled = (Named & Deploy) | AgentError

/** The loop as a source sees it. */
export interface Loop {
  /** Judges a deployment whose files are all in `place`, with the keys of the twin's. Errors: AgentError `PACKAGE_STORE`. */
  verify(service: Service, place: Place, signal: AbortSignal): Promise<Deployment>
  /** Why an update requested locally need not or must not begin, as far as is known at once: it is installed, or too old. */
  objection(update: FirmwareUpdate): AgentError | undefined
  /** Why a request cannot be accepted, as far as is known at once: "another update is running". */
  busy(): string | undefined
  /** Why a command cannot be carried out, as far as is known at once. */
  whyNot(command: CommandName): string | undefined
  /** Tells the loop that a request is waiting. */
  wake(request?: Request): void
}

/** Several sources as one: the request of the first source that has one comes next. */
export class OnceSources implements OnceSource {
  readonly #sources: readonly OnceSource[]

  constructor(sources: readonly OnceSource[]) {
    this.#sources = sources
  }

  get request(): Request | undefined {
    return this.#sources.find(({ request }) => request !== undefined)?.request
  }

  take(request: Request): boolean {
    return this.#sources.some(source => source.request === request && source.take(request))
  }

  settle(request: Request, outcome: Outcome): void {
    this.#sources.find(source => source.request === request)?.settle(request, outcome)
  }

  recalled(attempt: Attempt): Recalled | undefined {
    const none = new AgentError('LOCAL_FOLDER', 'no local deployments are taken any more')
    const able = this.#sources.filter(source => source.recalled)
    return able.length === 0 ? none : able.map(source => source.recalled?.(attempt)).find(found => found !== undefined)
  }

  async recall(attempt: Attempt, signal: AbortSignal): Promise<void> {
    for (const source of this.#sources) await source.recall?.(attempt, signal)
  }
}

/** Makes the source of one origin. */
export type MakeOnceSource = (loop: Loop) => OnceSource

/** The sources by origin. */
export type OnceOrigins = Readonly<Record<Origin, MakeOnceSource>>
