import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { jsonText } from '../../domain/terminal.ts'
import { EXIT, Failure, messageOf } from '../failure.ts'

/** What became of one device. Holds no secret. */
export interface DeviceRecord {
  readonly registrationId: string
  readonly deviceId?: string
  readonly folder: string
  readonly state: 'enrolled' | 'failed'
  readonly reason?: string
  /** SHA-256 of the certificate, hexadecimal. */
  readonly thumbprint?: string
  /** When the certificate ends. */
  readonly expires?: string
}

interface Content {
  readonly idScope: string
  readonly group?: string
  readonly devices: readonly DeviceRecord[]
}

const NAME = 'report.json'

/** The report of an enrollment in its folder, which is also what makes it resumable. */
export class EnrollmentRecord {
  readonly devices: Map<string, DeviceRecord>
  readonly file: string
  readonly #content: Omit<Content, 'devices'>

  private constructor(file: string, content: Content) {
    const { devices, ...rest } = content
    this.file = file
    this.devices = new Map(devices.map(each => [each.registrationId, each]))
    this.#content = rest
  }

  /** The one in `dir`, or a new one. Errors: Failure, also when that one is of another scope or group. */
  static async open(dir: string, idScope: string, group: string | undefined): Promise<EnrollmentRecord> {
    const file = join(dir, NAME)
    const wanted = { idScope, ...(group === undefined ? {} : { group }) }
    const text = await readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
      if (cause.code === 'ENOENT') return undefined
      throw new Failure(EXIT.usage, `cannot read ${file}: ${cause.message}`, { cause })
    })
    if (text === undefined) return new EnrollmentRecord(file, { ...wanted, devices: [] })
    const found = contentOf(text)
    if (!found || !Array.isArray(found.devices)) throw new Failure(EXIT.usage, `${file} is not a report of enrol`)
    if (found.idScope !== idScope || found.group !== group) {
      throw new Failure(EXIT.usage, `${file} is of another id scope or group; use another folder`)
    }
    return new EnrollmentRecord(file, found)
  }

  isEnrolled = (id: string): boolean => this.devices.get(id)?.state === 'enrolled'

  /** Replaces the file. Errors: Failure. */
  async save(): Promise<void> {
    const content: Content = { ...this.#content, devices: [...this.devices.values()] }
    try {
      await mkdir(join(this.file, '..'), { recursive: true, mode: 0o700 })
      await writeFile(`${this.file}.new`, `${jsonText(content, 2)}\n`, { mode: 0o600, flush: true })
      await rename(`${this.file}.new`, this.file)
    } catch (cause) {
      throw new Failure(EXIT.unavailable, `cannot write ${this.file}: ${messageOf(cause)}`, { cause })
    }
  }
}

function contentOf(text: string): Content | undefined {
  try {
    return JSON.parse(text) as Content
  } catch {
    return undefined
  }
}
