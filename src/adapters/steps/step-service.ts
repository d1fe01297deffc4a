import type { Socket } from 'node:net'
import { connected, linesFor } from '../../control/connection.ts'
import { AgentError, messageOf } from '../../domain/errors.ts'
import type { StepResult } from '../../domain/step-record.ts'
import type { Clock } from '../../ports/clock.ts'
import type { KeyStore } from '../../ports/key-store.ts'
import type { StepOrder, Steps } from '../../ports/steps.ts'
import { type Refused, type Request, readAnswer } from '../../steps/protocol.ts'

/** How often a lost or refused connection is tried again, and how long we wait before that, in milliseconds. */
const ATTEMPTS = 10
const PAUSE = 2000

export interface StepServiceOptions {
  /** Where the service listens. */
  readonly socket: string
  /** Holds the newest root key package, which the service verifies for itself. */
  readonly keyStore: Pick<KeyStore, 'read'>
  readonly clock: Pick<Clock, 'sleep'>
}

/** The step service over its socket. A lost connection is made again: the order goes on without it, and keeps its id. */
export class StepService implements Steps {
  readonly #options: StepServiceOptions

  constructor(options: StepServiceOptions) {
    this.#options = options
  }

  async run(order: StepOrder, progress: (percent: number) => void, signal: AbortSignal): Promise<StepResult> {
    const request = await this.#request(order)
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#once(request, progress, signal)
      } catch (error) {
        signal.throwIfAborted()
        if (!(error instanceof ConnectionLost) || attempt >= ATTEMPTS) throw error
      }
      await this.#options.clock.sleep(PAUSE, signal)
    }
  }

  async #request(order: StepOrder): Promise<Request> {
    let stored: Buffer | undefined
    try {
      stored = await this.#options.keyStore.read()
    } catch (cause) {
      if (!(cause instanceof AgentError)) throw cause
      throw new AgentError('STEP_SERVICE', cause.message, { cause })
    }
    return { order, ...(stored ? { rootKeyPackage: stored.toString() } : {}) }
  }

  async #once(request: Request, progress: (percent: number) => void, signal: AbortSignal): Promise<StepResult> {
    const socket = await opened(this.#options.socket, signal)
    for await (const line of linesFor(socket, request, signal)) {
      const answer = readAnswer(line)
      if (answer && 'progress' in answer) progress(answer.progress)
      else if (answer && 'result' in answer) return answer.result
      else if (answer) throw refusalOf(answer.refused)
    }
    throw new ConnectionLost(`the step service at ${this.#options.socket} ended before its answer`)
  }
}

class ConnectionLost extends AgentError {
  constructor(message: string, options?: ErrorOptions) {
    super('STEP_SERVICE', message, options)
  }
}

/** The service's own code goes to the twin. */
class StepRefused extends AgentError {
  readonly #extendedResultCode: number

  constructor({ extendedResultCode, message }: Refused) {
    super('STEP_REFUSED', message)
    this.#extendedResultCode = extendedResultCode
  }

  override get extendedResultCode(): number {
    return this.#extendedResultCode
  }
}

const refusalOf = (refused: Refused): AgentError =>
  refused.code === 'STEP_SERVICE' || refused.code === 'STEP_UNKNOWN' || refused.code === 'TIMED_OUT'
    ? new AgentError(refused.code, refused.message)
    : new StepRefused(refused)

/** The connected socket. Errors: AgentError `STEP_SERVICE` with what to do; the signal's reason on abort. */
async function opened(path: string, signal: AbortSignal): Promise<Socket> {
  try {
    return await connected(path, signal)
  } catch (error) {
    signal.throwIfAborted()
    throw failure(path, error as NodeJS.ErrnoException)
  }
}

function failure(path: string, cause: NodeJS.ErrnoException): AgentError {
  const { code } = cause
  if (code === 'EACCES' || code === 'EPERM') {
    const why = `the agent's user may not connect to the step service at ${path}: give the socket to its group (SocketGroup= in pi-adu-steps.socket)`
    return new AgentError('STEP_SERVICE', why, { cause })
  }
  if (code === 'ENOENT') {
    const why = `there is no step service at ${path}: enable it (systemctl enable --now pi-adu-steps.socket), or set piAdu.steps.socket`
    // At a start it may be about to come.
    return new ConnectionLost(why, { cause })
  }
  return new ConnectionLost(`the step service at ${path} cannot be reached: ${messageOf(cause)}`, { cause })
}
