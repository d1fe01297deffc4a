import { mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { AgentError, messageOf } from '../../domain/errors.ts'
import type { Lock } from '../../domain/gate.ts'
import { onOneLine } from '../../domain/terminal.ts'
import type { LocalGates, LockRequest } from '../../ports/local-gates.ts'
import { type ConditionsOptions, isTimeTrusted, MAX_LOCKS } from './conditions.ts'

type Options = Pick<ConditionsOptions, 'locks' | 'consentFor' | 'consentFile' | 'timeSyncFile' | 'time'>

/** The same files that an application may write itself, and the locks that this process holds in memory. */
export class SystemGates implements LocalGates {
  readonly #options: Options
  readonly #held = new Map<string, { readonly lock: Lock; readonly timer: NodeJS.Timeout }>()

  constructor(options: Options) {
    this.#options = options
  }

  /** The locks that this process holds. */
  get held(): readonly Lock[] {
    return [...this.#held.values()].map(({ lock }) => lock)
  }

  async consent(): Promise<true | undefined> {
    const { consentFor, consentFile } = this.#options
    if (consentFor === undefined) return undefined
    // Never through a link: others may write in this folder.
    await writeFile(consentFile, '', { flag: 'wx' }).catch(error => {
      if (error.code === 'EEXIST') return
      throw failure(`the consent ${consentFile} cannot be written`, error)
    })
    return true
  }

  hold({ name, gates, seconds, why }: LockRequest): () => void {
    if (this.#held.size >= MAX_LOCKS && !this.#held.has(name))
      throw new AgentError('INTERNAL', `there are ${MAX_LOCKS} locks already: unlock one of them first`)
    this.#release(name)
    const timer = setTimeout(() => this.#release(name), seconds * 1000)
    timer.unref()
    // The timer ends it: the wall clock may jump.
    const entry = { lock: { name, gates, until: undefined, why }, timer }
    this.#held.set(name, entry)
    return () => {
      if (this.#held.get(name) === entry) this.#release(name)
    }
  }

  async keep(lock: LockRequest): Promise<boolean> {
    // With a wrong clock the file would say a wrong end.
    if (!(await isTimeTrusted(this.#options))) {
      this.hold(lock)
      return false
    }
    const { locks } = this.#options
    const { name, gates, seconds, why } = lock
    const until = new Date(Date.now() + seconds * 1000).toISOString()
    // Its name begins with a dot, so it is not a lock yet.
    const temporary = join(locks, `.${name}.${process.pid}`)
    try {
      await mkdir(locks, { recursive: true })
      await rm(temporary, { force: true })
      await writeFile(temporary, JSON.stringify({ gates, until, why }), { flag: 'wx' })
      await rename(temporary, join(locks, name))
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => {})
      throw failure(`the lock ${name} cannot be written into ${locks}`, error)
    }
    this.#release(name)
    return true
  }

  async unlock(name: string): Promise<boolean> {
    const wasHeld = this.#release(name)
    try {
      await rm(join(this.#options.locks, name))
      return true
    } catch (error) {
      if (['ENOENT', 'ENOTDIR'].includes(String((error as NodeJS.ErrnoException).code))) return wasHeld
      throw failure(`the lock ${name} cannot be removed from ${this.#options.locks}`, error)
    }
  }

  #release(name: string): boolean {
    clearTimeout(this.#held.get(name)?.timer)
    return this.#held.delete(name)
  }
}

const failure = (what: string, cause: unknown): AgentError =>
  new AgentError('INTERNAL', `${what}: ${onOneLine(messageOf(cause))}`, { cause })
