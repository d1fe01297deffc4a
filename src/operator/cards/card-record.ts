import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { jsonText } from '../../domain/terminal.ts'
import { EXIT, Failure, messageOf } from '../failure.ts'

/** What became of one card. Holds no secret. */
export interface CardRow {
  readonly device: string
  readonly state: 'planned' | 'written' | 'failed'
  /** In the folder of the report. */
  readonly file: string
  /** Names of the files that were put on the card. */
  readonly files: readonly string[]
  /** Files that a layer of the image takes from each card, and this one does not have. */
  readonly missing: readonly string[]
  /** Of image, form and files: what was written from the same is kept. */
  readonly inputs: string
  /** Bytes of disk. */
  readonly bytes?: number
  readonly reason?: string
}

const JSON_NAME = 'report.json'
const CSV_NAME = 'report.csv'
const KIND = 'cards'

/** The report of `cards` in its folder, as JSON and CSV. It is also what makes the command resumable. */
export class CardRecord {
  readonly #dir: string
  readonly rows: Map<string, CardRow>

  private constructor(dir: string, rows: readonly CardRow[]) {
    this.#dir = dir
    this.rows = new Map(rows.map(row => [row.device, row]))
  }

  get file(): string {
    return join(this.#dir, JSON_NAME)
  }

  /** The one in `dir`, or a new one. Errors: Failure, also when the report there is another command's. */
  static async open(dir: string): Promise<CardRecord> {
    const file = join(dir, JSON_NAME)
    const text = await readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
      if (cause.code === 'ENOENT') return undefined
      throw new Failure(EXIT.usage, `cannot read ${file}: ${cause.message}`, { cause })
    })
    if (text === undefined) return new CardRecord(dir, [])
    const found = rowsOf(text)
    if (!found) throw new Failure(EXIT.usage, `${file} is not a report of cards: use another folder for --out`)
    return new CardRecord(dir, found)
  }

  /** Replaces both files. Errors: Failure. */
  async save(): Promise<void> {
    const rows = [...this.rows.values()]
    try {
      await mkdir(this.#dir, { recursive: true, mode: 0o700 })
      for (const [name, text] of [
        [CSV_NAME, csvOf(rows)],
        [JSON_NAME, `${jsonText({ kind: KIND, cards: rows }, 2)}\n`],
      ] as const) {
        const file = join(this.#dir, name)
        await writeFile(`${file}.new`, text, { mode: 0o600, flush: true })
        await rename(`${file}.new`, file)
      }
    } catch (cause) {
      throw new Failure(EXIT.unavailable, `cannot write ${this.#dir}: ${messageOf(cause)}`, { cause })
    }
  }
}

/** As far as this program relies on it. */
const isRow = (row: Partial<CardRow> | null): boolean =>
  typeof row?.device === 'string' &&
  typeof row.file === 'string' &&
  Array.isArray(row.files) &&
  Array.isArray(row.missing)

function rowsOf(text: string): readonly CardRow[] | undefined {
  try {
    const { kind, cards } = JSON.parse(text)
    return kind === KIND && Array.isArray(cards) && cards.every(isRow) ? cards : undefined
  } catch {
    return undefined
  }
}

/** For spreadsheets (RFC 4180). Pure. */
export function csvOf(rows: readonly CardRow[]): string {
  const quoted = (text: string): string => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text)
  const lines = rows.map(({ device, state, file, files, missing, bytes, reason }) =>
    [device, state, file, String(bytes ?? ''), files.join(' '), missing.join(' '), reason ?? ''].map(quoted).join(','),
  )
  return [['device', 'state', 'file', 'bytes', 'files', 'missing', 'reason'].join(','), ...lines, ''].join('\r\n')
}
