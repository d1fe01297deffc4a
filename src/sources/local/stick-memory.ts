import { AgentError, messageOf } from '../../domain/errors.ts'
import type { Journal } from '../../ports/journal.ts'
import type { Log } from '../../ports/log.ts'
import type { Tried } from '../../ports/tried.ts'

/** Enough for a stick whose content is exchanged in place, and few enough for a small file. */
const MAX_TRIED = 16

/**
 * Which deployments the stick in the device has brought already. A stick that stays must not bring a system that failed again
 * and again, and must not undo what the operator deploys later. Taking it away clears this.
 */
export class StickMemory {
  readonly #tried: Tried
  readonly #journal: Pick<Journal, 'read'>
  readonly #log: Log
  #isJournalRead = false
  /** What could not be written yet. */
  #unsaved: readonly string[] = []

  constructor(tried: Tried, journal: Pick<Journal, 'read'>, log: Log) {
    this.#tried = tried
    this.#journal = journal
    this.#log = log
  }

  /** Errors: AgentError `LOCAL_TRIED`, or `JOURNAL` when that cannot be known. */
  async mustBeNew(fingerprint: string): Promise<void> {
    const content = await this.#journal.read()
    const isLast = content.is === 'attempt' && content.attempt.fingerprint === fingerprint
    const tried = await this.#tried.read()
    if (isLast && !tried.includes(fingerprint)) await this.note(fingerprint)
    if (!isLast && ![...tried, ...this.#unsaved].includes(fingerprint)) return
    const why =
      'this device has tried this deployment already: to try it again, take the folder away for half a minute while the agent runs'
    throw new AgentError('LOCAL_TRIED', why)
  }

  /**
   * To be called before the agent can begin anything, and now and then: the process before may have ended after it began and before
   * that was noted, and the next deployment makes the journal forget.
   */
  async remember(): Promise<void> {
    await this.#write(async () => {
      if (!this.#isJournalRead) {
        const content = await this.#journal.read()
        this.#isJournalRead = true
        if (content.is === 'attempt' && content.attempt.origin === 'local') this.#add(content.attempt.fingerprint)
      }
      await this.#save()
    })
  }

  /** If the disk cannot be written, this process still knows, and `remember` tries again. */
  async note(fingerprint: string): Promise<void> {
    this.#add(fingerprint)
    await this.#write(() => this.#save())
  }

  #add(fingerprint: string): void {
    this.#unsaved = [...this.#unsaved.filter(each => each !== fingerprint), fingerprint]
  }

  async #save(): Promise<void> {
    const unsaved = this.#unsaved
    if (unsaved.length === 0) return
    const tried = await this.#tried.read()
    const others = tried.filter(each => !unsaved.includes(each))
    if (tried.length - others.length < unsaved.length) {
      await this.#tried.write([...others, ...unsaved].slice(-MAX_TRIED))
    }
    this.#unsaved = this.#unsaved.filter(each => !unsaved.includes(each))
  }

  /** The stick was taken away. */
  async clear(): Promise<void> {
    this.#unsaved = []
    await this.#write(async () => {
      if ((await this.#tried.read()).length > 0) await this.#tried.write([])
    })
  }

  async #write(work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      if (!(error instanceof AgentError)) throw error
      this.#log.warn('local.not-noted', { why: messageOf(error) })
    }
  }
}
