import { uptime } from 'node:os'
import type { CommandName } from '../domain/command.ts'
import { AgentError, messageOf } from '../domain/errors.ts'
import { onOneLine } from '../domain/terminal.ts'
import type { LocalGates } from '../ports/local-gates.ts'
import type { Log } from '../ports/log.ts'
import type { Answer, Command } from './protocol.ts'
import type { Publisher } from './publisher.ts'

/** Locks that one connection may take in its time. */
const MAX_HELD = 100

/** How the loop has taken a command up. */
export type Outcome =
  | { readonly is: 'begun' }
  | { readonly is: 'refused' | 'failed' | 'uncertain'; readonly why: string }

/** The loop, as requests see it. */
export interface Engine {
  /** Carries `command` out, if nothing is in the way. Never rejects. */
  ask(command: CommandName): Promise<Outcome>
  /** Makes it look at the device again. */
  wake(): void
  /** See `LocalSide.install`. */
  install(
    target: string,
  ): Promise<
    | { readonly is: 'begun'; readonly workflowId: string }
    | { readonly is: 'refused'; readonly why: string; readonly code: string }
  >
}

/**
 * Carries out what is ordered at the device. The control socket, a button and a local page all call `answer`, so each command
 * does the same wherever it comes from.
 */
export class Requests {
  readonly #gates: LocalGates
  readonly #publisher: Publisher
  readonly #engine: Engine
  readonly #log: Log
  readonly #held = new WeakMap<AbortSignal, Map<string, () => void>>()
  #identifying: NodeJS.Timeout | undefined

  constructor(gates: LocalGates, publisher: Publisher, engine: Engine, log: Log) {
    this.#gates = gates
    this.#publisher = publisher
    this.#engine = engine
    this.#log = log
  }

  /** Never rejects. `gone` aborts when whoever asked is gone: a lock that does not stay ends then. */
  async answer(command: Command, gone: AbortSignal): Promise<Answer> {
    const answer = await this.#answer(command, gone).catch((error): Answer => {
      if (error instanceof AgentError) return { error: error.message }
      this.#log.error('control.bug', { why: messageOf(error), stack: error?.stack })
      return { error: 'the agent has a fault here: see its log' }
    })
    const said = 'done' in answer ? answer.done : answer.error
    this.#publisher.tell({ event: 'asked', what: command.do, isDone: 'done' in answer, answer: said })
    return answer
  }

  async #answer(command: Command, gone: AbortSignal): Promise<Answer> {
    switch (command.do) {
      case 'consent':
        return this.#consent()
      case 'lock':
        return this.#lock(command, gone)
      case 'unlock':
        return this.#unlock(command.name)
      case 'cancel':
      case 'retry':
      case 'commit':
      case 'rollback':
        return answerOf(command.do, await this.#engine.ask(command.do))
      case 'install':
        return this.#install(command.target)
      case 'identify':
        return this.#identify(command.seconds)
    }
  }

  async #consent(): Promise<Answer> {
    const { deployment } = this.#publisher.view
    if (!deployment || deployment.ended) return { error: 'no update is waiting for consent' }
    if (!(await this.#gates.consent()))
      return { error: 'this device asks nobody for consent (piAdu.gates.consentFor is not set)' }
    this.#engine.wake()
    return { done: `consented to the update ${named(deployment)}` }
  }

  async #lock(lock: Extract<Command, { do: 'lock' }>, gone: AbortSignal): Promise<Answer> {
    const { name, gates, seconds, stay, why } = lock
    const wanted = { name, gates: [...new Set(gates)], seconds, why: why === undefined ? undefined : onOneLine(why) }
    const what = `locked by ${name}: ${wanted.gates.join(', ')}; for ${seconds} s`
    if (stay) {
      const outlives = await this.#gates.keep(wanted)
      this.#engine.wake()
      if (outlives) return { done: what }
      return { done: `${what}, and not beyond a restart of the agent, because the clock is not synchronised` }
    }
    const held = this.#heldBy(gone)
    if (held.size >= MAX_HELD && !held.has(name)) {
      return { error: `one connection takes at most ${MAX_HELD} locks: close it and begin again` }
    }
    held.set(name, this.#gates.hold(wanted))
    this.#engine.wake()
    return { done: `${what}, as long as this connection lasts` }
  }

  async #unlock(name: string): Promise<Answer> {
    if (!(await this.#gates.unlock(name))) return { error: `there is no lock of the name ${name}` }
    this.#engine.wake()
    return { done: `the lock ${name} is removed` }
  }

  async #install(target: string): Promise<Answer> {
    const answer = await this.#engine.install(target)
    const { is } = answer
    if (is === 'begun') return { done: `the local update ${answer.workflowId} begins`, workflowId: answer.workflowId }
    return { error: answer.code === '' ? answer.why : `${answer.why} (${answer.code})` }
  }

  /** The locks that end with `gone`. */
  #heldBy(gone: AbortSignal): Map<string, () => void> {
    const known = this.#held.get(gone)
    if (known) return known
    const held = new Map<string, () => void>()
    this.#held.set(gone, held)
    const over = (): void => {
      for (const release of held.values()) release()
      this.#engine.wake()
    }
    gone.addEventListener('abort', over, { once: true })
    return held
  }

  #identify(seconds: number): Answer {
    clearTimeout(this.#identifying)
    const show = (identifyUntil: number | null) => this.#publisher.change(view => ({ ...view, identifyUntil }))
    this.#identifying = setTimeout(() => show(null), seconds * 1000)
    this.#identifying.unref()
    show(uptime() + seconds)
    return { done: `the lights show for ${seconds} s which device this is` }
  }
}

const DONE: Readonly<Record<CommandName, string>> = {
  cancel: 'the deployment is cancelled',
  retry: 'the deployment begins again',
  commit: 'the new system is committed, without waiting for its health checks',
  rollback: 'the device restarts into the other system, on trial; the cloud learns of it when that is settled',
}

function answerOf(command: CommandName, outcome: Outcome): Answer {
  switch (outcome.is) {
    case 'begun':
      return { done: DONE[command] }
    case 'refused':
      return { error: outcome.why }
    case 'failed':
      return { error: `nothing was begun: ${outcome.why}` }
    case 'uncertain':
      return { error: `whether this was begun is uncertain, pi-adu status shows it: ${outcome.why}` }
  }
}

const named = ({ updateId, workflowId }: { updateId: { name: string; version: string } | null; workflowId: string }) =>
  updateId ? `${updateId.name} ${updateId.version}` : workflowId
