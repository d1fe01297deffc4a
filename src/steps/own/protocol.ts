import { join } from 'node:path'
import type { OwnWork } from '../../domain/deployment.ts'
import { onOneLine } from '../../domain/terminal.ts'
import type { Verb } from '../../ports/steps.ts'
import { type Answer, BadAnswer, readAnswer } from '../answer.ts'
import type { Job } from '../worker.ts'

/** The object on the handler's stdin (README.md). */
export function requestOf(verb: Verb, job: Job<OwnWork>, attempt: number): object {
  const { work, plan, updateId, component, folder } = job
  // The files are copied only for the verbs that work with them; their hashes always tell which ones they are.
  const hasFiles = verb !== 'isInstalled' && verb !== 'cancel'
  return {
    ...{ protocol: 1, verb, attempt, handler: work.handler, update: updateId, properties: work.properties },
    ...(plan.installedCriteria === undefined ? {} : { installedCriteria: plan.installedCriteria }),
    ...(component ? { component } : {}),
    folder,
    files: [...plan.probe, ...plan.payload].map(({ fileName, sizeInBytes, sha256 }) => ({
      ...{ name: fileName, sizeInBytes, sha256: sha256.toString('hex') },
      ...(hasFiles ? { path: join(folder, fileName) } : {}),
    })),
  }
}

/** Lines that are kept for the details of a failure. */
const KEPT = 3

/** What the handler says: JSON lines on stdout. Anything else that it prints is for people. */
export class Reply {
  readonly #progress: (percent: number) => void
  readonly #said: string[] = []
  #answer: Answer | BadAnswer | undefined

  constructor(progress: (percent: number) => void) {
    this.#progress = progress
  }

  /** The last result, if there was one. */
  get answer(): Answer | BadAnswer | undefined {
    return this.#answer
  }

  /** The end of a sentence: the last lines for people. */
  get said(): string {
    return this.#said.length === 0 ? '' : `; it said: ${this.#said.join('; ')}`
  }

  line(line: string, from: 'stdout' | 'stderr'): void {
    const message = from === 'stdout' ? objectIn(line) : undefined
    if (message instanceof BadAnswer) this.#answer = message
    if (!message || message instanceof BadAnswer) {
      this.#hear(line)
      return
    }
    const { progress, log, result } = message
    if (typeof progress === 'number' && progress >= 0 && progress <= 100) this.#progress(progress)
    if (typeof log === 'string') this.#hear(log)
    if (result === undefined) return
    try {
      this.#answer = readAnswer(result)
    } catch (error) {
      if (!(error instanceof BadAnswer)) throw error
      this.#answer = error
    }
  }

  #hear(text: string): void {
    if (text.trim() === '') return
    this.#said.push(onOneLine(text.trim().slice(0, 200)))
    if (this.#said.length > KEPT) this.#said.shift()
  }
}

/** In characters; of a longer line only the end arrives (`byLine`). */
const LONG = 8192

/** Undefined: not a JSON line. What may have been a result must not be passed over: without one, exit code 0 is a success. */
function objectIn(line: string): Readonly<Record<string, unknown>> | BadAnswer | undefined {
  if (line.length >= LONG && line.trimEnd().endsWith('}')) return new BadAnswer('may be in a line of more than 8 KiB')
  if (!line.startsWith('{')) return undefined
  try {
    return JSON.parse(line)
  } catch {
    return new BadAnswer('may be in a line that begins with { and is not valid JSON')
  }
}
