import { type Attempt, afterGap } from '../../domain/attempt.ts'
import { AgentError, messageOf } from '../../domain/errors.ts'
import type { Journal, JournalContent } from '../../ports/journal.ts'
import type { Log } from '../../ports/log.ts'
import { type Disk, disk } from './disk.ts'
import { readAttempt } from './journal-format.ts'
import { sealed, unsealed } from './sealed.ts'

type Generation =
  | { readonly is: 'none' }
  | { readonly is: 'bad'; readonly why: string }
  | { readonly is: 'good'; readonly attempt: Attempt }

/** Of a disk that does not give a sector back, or of a file system that has noticed damage (EUCLEAN, EBADMSG). */
const ROTTEN = new Set(['EIO', 'Unknown system error -117', 'Unknown system error -74'])

/**
 * The journal in two generations: `journal.json` has what was written last, `journal.json.old` what was written before. A power cut
 * costs neither: the new one is whole before it takes the name, and the old one keeps its own.
 *
 * So the older generation is needed only where the newest has rotted, and is one write behind: the effect after that write may have
 * happened. It is used for what may be done twice (an image, a report) and for its history. The step that was next in it counts as
 * one that may have run (`mayHaveRun`), see `afterGap`.
 */
export class FileJournal implements Journal {
  readonly #file: string
  readonly #older: string
  readonly #log: Log
  readonly #disk: Disk
  #logged = ''

  constructor(file: string, log: Log, on: Disk = disk) {
    this.#file = file
    this.#older = `${file}.old`
    this.#log = log
    this.#disk = on
  }

  async read(): Promise<JournalContent> {
    const newest = await this.#look(this.#file)
    if (newest.is === 'good') return { is: 'attempt', attempt: newest.attempt }
    const older = await this.#look(this.#older)
    if (older.is === 'none' && newest.is === 'none') return { is: 'none' }
    const why = newest.is === 'none' ? `${this.#file} is missing` : newest.why
    if (older.is === 'good') {
      this.#say('journal.recovered', why)
      return { is: 'attempt', attempt: afterGap(older.attempt, why) }
    }
    const both = older.is === 'bad' ? `${why}; ${older.why}` : why
    this.#say('journal.lost', both)
    return { is: 'lost', why: both }
  }

  async write(attempt: Attempt): Promise<void> {
    const next = `${this.#file}.new`
    try {
      const newest = await this.#look(this.#file)
      await this.#disk.write(next, sealed(attempt))
      if (newest.is === 'good') {
        await this.#disk.copy(this.#file, this.#older)
        await this.#disk.rename(next, this.#file)
      } else if (newest.is === 'none' && (await this.#look(this.#older)).is === 'none') {
        await this.#disk.rename(next, this.#file)
      } else {
        // The older generation first: it must never be more than one write behind the newest.
        await this.#disk.rename(next, this.#older)
        await this.#disk.copy(this.#older, this.#file)
      }
      this.#logged = ''
    } catch (error) {
      throw error instanceof AgentError ? error : this.#failure('write', error)
    }
  }

  async #look(file: string): Promise<Generation> {
    let bytes: Buffer | undefined
    try {
      bytes = await this.#disk.read(file)
    } catch (error) {
      if (!ROTTEN.has(String((error as NodeJS.ErrnoException).code))) throw this.#failure('read', error)
      return { is: 'bad', why: `${file} cannot be read: ${messageOf(error)}` }
    }
    if (!bytes) return { is: 'none' }
    try {
      return { is: 'good', attempt: readAttempt(unsealed(bytes)) }
    } catch (error) {
      return { is: 'bad', why: `${file} ${messageOf(error)}` }
    }
  }

  /** Once, not at each look. */
  #say(event: 'journal.recovered' | 'journal.lost', why: string): void {
    if (this.#logged !== why) this.#log.error(event, { why })
    this.#logged = why
  }

  #failure(what: string, cause: unknown): AgentError {
    return new AgentError('JOURNAL', `cannot ${what} the journal ${this.#file}: ${messageOf(cause)}`, { cause })
  }
}
