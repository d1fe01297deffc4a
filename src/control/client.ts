import type { Socket } from 'node:net'
import { messageOf } from '../domain/errors.ts'
import type { AgentView } from '../view/view.ts'
import { connected, linesFor } from './connection.ts'
import { type Answer, type Line, type Order, type Request, readLine } from './protocol.ts'

/** Milliseconds that an agent may take to answer. */
const PATIENCE = 3000

/** Milliseconds that it may take over a command: the loop may be about something else first. */
const ORDER_PATIENCE = 40_000

/**
 * Milliseconds for the answer to a local update, whose medium may be slow: the agent judges it for 120 s, looks for its image for
 * 60 s, and waits 20 s for the loop (`sources/local/local-side.ts`, `sources/one-request.ts`); 40 s more, so that its answer comes first.
 */
const INSTALL_PATIENCE = 240_000

/** `absent`: nobody listens. `denied`: this user may not connect. `silent`: no answer came, or an unreadable one. */
export class ControlError extends Error {
  override readonly name = 'ControlError'
  readonly kind: 'absent' | 'denied' | 'silent'

  constructor(kind: ControlError['kind'], message: string, options?: ErrorOptions) {
    super(message, options)
    this.kind = kind
  }
}

/** The view of the agent that listens at `path`. Errors: ControlError. */
export async function askForView(path: string): Promise<AgentView> {
  const signal = AbortSignal.timeout(PATIENCE)
  for await (const line of lines(path, { do: 'view' }, signal)) {
    if ('view' in line) return line.view
    if ('error' in line) throw new ControlError('silent', `the agent at ${path} answered: ${line.error}`)
  }
  throw new ControlError('silent', `the agent at ${path} does not answer`)
}

/** The answer of the agent that listens at `path`. Errors: ControlError. */
export async function orderAgent(path: string, order: Order): Promise<Answer> {
  const signal = AbortSignal.timeout(order.do === 'install' ? INSTALL_PATIENCE : ORDER_PATIENCE)
  for await (const line of lines(path, order, signal)) if ('done' in line || 'error' in line) return line
  throw new ControlError('silent', `the agent at ${path} does not answer: pi-adu status shows what it does`)
}

/**
 * The view of the agent that listens at `path`, the kept events with a number above `after`, then every event and every new
 * view. Ends when the agent ends or `signal` aborts. Errors: ControlError.
 */
export async function* watchAgent(path: string, signal: AbortSignal, after?: number): AsyncGenerator<Line> {
  yield* lines(path, { do: 'watch', ...(after === undefined ? {} : { after }) }, signal)
}

async function* lines(path: string, request: Request, signal: AbortSignal): AsyncGenerator<Line> {
  const socket = await opened(path, signal)
  if (!socket) return
  for await (const text of linesFor(socket, request, signal)) {
    const line = readLine(text)
    if (line) yield line
  }
}

/** The connected socket; undefined if `signal` has aborted meanwhile. */
async function opened(path: string, signal: AbortSignal): Promise<Socket | undefined> {
  try {
    return await connected(path, signal)
  } catch (error) {
    if (signal.aborted) return undefined
    throw failure(path, error)
  }
}

function failure(path: string, error: unknown): ControlError {
  const { code } = error as NodeJS.ErrnoException
  if (code === 'EACCES' || code === 'EPERM') {
    const why = `this user may not ask the agent at ${path}: run it as root or as a member of the agent's group`
    return new ControlError('denied', why, { cause: error })
  }
  if (code === 'ENOENT' || code === 'ECONNREFUSED' || code === 'ENOTDIR') {
    return new ControlError('absent', `no agent listens at ${path}`, { cause: error })
  }
  return new ControlError('silent', `the agent at ${path} cannot be asked: ${messageOf(error)}`, { cause: error })
}
