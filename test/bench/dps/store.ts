import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { JsonObject } from '../hub/json.ts'
import type { Group, Individual } from './enrollments.ts'

/** What became of the last registration of a device. */
export interface Registration {
  readonly registrationId: string
  readonly enrollmentGroupId?: string
  readonly deviceId: string
  /** The hub's name in the bench; how a device reaches it is decided when it asks. */
  readonly hub: string
  readonly substatus: string
  readonly createdDateTimeUtc: string
  readonly lastUpdatedDateTimeUtc: string
  readonly etag: string
  /** Of the certificate that the device registered with. */
  readonly certificateInfo?: JsonObject
  /** From a custom allocation. */
  readonly payload?: JsonObject
}

interface Content {
  readonly format: 1
  readonly serviceKey: string
  readonly individuals: Individual[]
  readonly groups: Group[]
  readonly registrations: Registration[]
  readonly certificates: [name: string, pem: string][]
}

/** Enrolments and registrations: one file, replaced as a whole, a moment after a change. */
export class ProvisioningStore {
  readonly serviceKey: string
  readonly individuals: Map<string, Individual>
  readonly groups: Map<string, Group>
  readonly registrations: Map<string, Registration>
  /** PEM by name. */
  readonly certificates: Map<string, string>
  readonly #file: string
  #timer: NodeJS.Timeout | undefined
  #writing: Promise<void> = Promise.resolve()

  private constructor(file: string, content: Content) {
    this.#file = file
    this.serviceKey = content.serviceKey
    this.individuals = new Map(content.individuals.map(each => [each.registrationId, each]))
    this.groups = new Map(content.groups.map(each => [each.enrollmentGroupId, each]))
    this.registrations = new Map(content.registrations.map(each => [each.registrationId, each]))
    this.certificates = new Map(content.certificates)
  }

  static async open(dir: string, serviceKey: string): Promise<ProvisioningStore> {
    await mkdir(dir, { recursive: true, mode: 0o700 })
    const file = join(dir, 'dps.json')
    const fresh = { format: 1, serviceKey, individuals: [], groups: [], registrations: [], certificates: [] } as const
    try {
      return new ProvisioningStore(file, JSON.parse(await readFile(file, 'utf8')))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      return new ProvisioningStore(file, { ...fresh, individuals: [], groups: [], registrations: [], certificates: [] })
    }
  }

  /** To be called after every change of a map. */
  changed(): void {
    this.#timer ??= setTimeout(() => void this.flush().catch(() => {}), 200)
  }

  /** Resolves when everything until now is on disk. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const written = this.#writing.then(() => this.#write())
    this.#writing = written.catch(() => {})
    await written
  }

  async #write(): Promise<void> {
    const content: Content = {
      format: 1,
      serviceKey: this.serviceKey,
      individuals: [...this.individuals.values()],
      groups: [...this.groups.values()],
      registrations: [...this.registrations.values()],
      certificates: [...this.certificates],
    }
    await writeFile(`${this.#file}.new`, JSON.stringify(content), { mode: 0o600 })
    await rename(`${this.#file}.new`, this.#file)
  }
}
