import { createHash } from 'node:crypto'
import type { Deployment } from '../domain/deployment.ts'
import { AgentError } from '../domain/errors.ts'
import type { Ports } from '../ports/ports.ts'
import type { WorkNote } from '../ports/work-notes.ts'

/** How often the process may end during the same work before that work is refused. */
export const MAX_EXITS = 3

/** Enough for the deployments of one device at a time, and few enough for one write. */
const MAX_NOTES = 16

/**
 * Recognises a deployment that repeatedly ends the process: by a bug, a lack of memory, or anything else. Work is noted on
 * the disk before it begins, and the note is removed when the work ends, whatever the outcome. A note that is still there
 * at the start means that the process ended during the work. If the whole machine went down, that does not count.
 */
export class CrashGuard {
  readonly #ports: Pick<Ports, 'workNotes' | 'log'>
  readonly #running = new Set<string>()
  #notes: { readonly boot: string; readonly begun: Map<string, WorkNote> } | undefined
  #last: Promise<unknown> = Promise.resolve()

  constructor(ports: Pick<Ports, 'workNotes' | 'log'>) {
    this.#ports = ports
  }

  /** Whether the work may be done, that is, it has not ended the process too often. Call `end` after it. May be repeated. */
  begin(key: string): Promise<boolean> {
    return this.#inTurn(async () => {
      if (this.#running.has(key)) return true
      const { boot, begun } = await this.#read()
      const note = begun.get(key)
      const exits = note ? note.starts - (note.boot === boot ? 0 : 1) : 0
      if (exits >= MAX_EXITS) {
        this.#ports.log.error('deployment.crash-loop', { key, exits })
        return false
      }
      this.#running.add(key)
      begun.delete(key)
      begun.set(key, { starts: exits + 1, boot })
      await this.#write()
      return true
    })
  }

  /** The work has ended, successfully or not, and the process has survived it. */
  end(key: string): Promise<void> {
    return this.#inTurn(async () => {
      if (!this.#running.delete(key)) return
      this.#notes?.begun.delete(key)
      await this.#write()
    })
  }

  /** The process is about to end in an orderly way: the current work is not to blame. */
  stop(): Promise<void> {
    return this.#inTurn(async () => {
      const begun = this.#notes?.begun
      if (!begun || this.#running.size === 0) return
      for (const key of this.#running) {
        const { starts = 1, boot = '' } = begun.get(key) ?? {}
        if (starts > 1) begun.set(key, { starts: starts - 1, boot })
        else begun.delete(key)
      }
      this.#running.clear()
      await this.#write()
    })
  }

  async #read() {
    if (this.#notes) return this.#notes
    const { boot, begun } = await this.#ports.workNotes.read().catch(error => {
      if (!(error instanceof AgentError)) throw error
      this.#ports.log.warn('work.unreadable', { why: error.message })
      return { boot: '', begun: {} }
    })
    this.#notes = { boot, begun: new Map(Object.entries(begun)) }
    return this.#notes
  }

  /** If the disk cannot be written, this protection is lost, but the work continues. Work that needs the disk reports it. */
  async #write(): Promise<void> {
    const { begun = new Map<string, WorkNote>() } = this.#notes ?? {}
    for (const key of [...begun.keys()].slice(0, -MAX_NOTES)) begun.delete(key)
    try {
      await this.#ports.workNotes.write(Object.fromEntries(begun))
    } catch (error) {
      if (!(error instanceof AgentError)) throw error
      this.#ports.log.warn('work.not-noted', { why: error.message })
    }
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work)
    this.#last = turn.catch(() => {})
    return turn
  }
}

/** Notes the one deployment that the loop is working on. */
export class CurrentWork {
  readonly #guard: CrashGuard
  #key: string | undefined

  constructor(guard: CrashGuard) {
    this.#guard = guard
  }

  /** `what`: in words. Errors: AgentError `CRASH_LOOP` when this work on this deployment has ended the process too often. */
  async begin(
    what: string,
    { workflow, fingerprint, retries }: Pick<Deployment, 'workflow' | 'fingerprint'> & { readonly retries?: number },
  ): Promise<void> {
    const key = workKey([what, workflow, fingerprint, ...(retries ? [retries] : [])], fingerprint)
    if (this.#key !== key) await this.end()
    this.#key = key
    if (!(await this.#guard.begin(key))) throw crashLoop(what)
  }

  async end(): Promise<void> {
    if (this.#key !== undefined) await this.#guard.end(this.#key)
    this.#key = undefined
  }
}

/** The name of a piece of work. For a value that JSON cannot hold, such as one nested too deeply, it is `fallback`. */
export function workKey(value: unknown, fallback: string): string {
  let text = fallback
  try {
    text = JSON.stringify(value) ?? fallback
  } catch {
    // The fallback will do.
  }
  return createHash('sha256').update(text).digest('hex').slice(0, 32)
}

export const crashLoop = (what: string): AgentError =>
  new AgentError('CRASH_LOOP', `the agent's process ended ${MAX_EXITS} times while it ${what}: not tried again`)
