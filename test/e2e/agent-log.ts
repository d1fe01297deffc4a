import { watch } from 'node:fs'
import { readFile } from 'node:fs/promises'

export interface LogLine {
  readonly event: string
  readonly [field: string]: unknown
}

type Match = string | ((line: LogLine) => boolean)

/** In milliseconds. */
const PATIENCE = 60_000

/** What the agents of a device have logged, over all boots: for tests of the log itself. What an agent does is told by AgentEvents. */
export class AgentLog {
  readonly #file: string

  constructor(file: string) {
    this.#file = file
  }

  async lines(match: Match = () => true): Promise<LogLine[]> {
    const text = await readFile(this.#file, 'utf8').catch(() => '')
    const fits = typeof match === 'string' ? (line: LogLine) => line.event === match : match
    return text.split('\n').flatMap(parsed).filter(fits)
  }

  /** The first lines that match, once there are `count` of them. */
  waitFor(match: Match, count = 1): Promise<LogLine[]> {
    return new Promise((resolve, reject) => {
      let looking = Promise.resolve()
      const end = (settle: () => void): void => {
        watcher.close()
        clearTimeout(timer)
        settle()
      }
      const look = (): void => {
        looking = looking.then(async () => {
          const found = await this.lines(match)
          if (found.length >= count) end(() => resolve(found))
        }, reject)
      }
      const watcher = watch(this.#file, look)
      const timer = setTimeout(
        () => end(() => reject(new Error(`waited in vain for ${count} log lines: ${match}`))),
        PATIENCE,
      )
      look()
    })
  }
}

/** Process 1 writes plain text there too, and a power cut may tear a line. */
function parsed(text: string): LogLine[] {
  try {
    return [JSON.parse(text) as LogLine]
  } catch {
    return []
  }
}
