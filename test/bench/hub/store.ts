import { mkdir, open, readFile, rename } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { PolicyName } from './policies.ts'
import type { Twin } from './twin.ts'

/** All the hub remembers of a device, or of a module (`ids.ts`). A value: a change makes a new one. */
export interface DeviceRecord {
  readonly id: string
  readonly generationId: string
  /** ETag of the identity; the twin has its own. */
  readonly etag: string
  readonly status: 'enabled' | 'disabled'
  readonly statusReason: string | null
  readonly statusUpdated: string
  readonly keys: { readonly primary: string; readonly secondary: string }
  /** Hexadecimal fingerprints of self-signed certificates, SHA-1 or SHA-256. Empty: the device uses its keys. */
  readonly thumbprints: readonly string[]
  /** The device shows a certificate that one of the hub's authorities has signed. */
  readonly caSigned?: boolean
  readonly modelId: string
  readonly connectionUpdated: string
  readonly lastActivity: string
  readonly twin: Twin
  /** Topic filters of the remembered MQTT session; null when there is none. */
  readonly session: readonly string[] | null
}

export interface Settings {
  readonly policies: Readonly<Record<PolicyName, string>>
  readonly ports: { readonly mqtt: number; readonly rest: number }
  /** Certificates (PEM) that may sign those of devices. Absent: none. */
  readonly authorities?: readonly string[]
}

const FORMAT = 1
const MIN_PAUSE_MS = 200

/**
 * The hub's memory on disk: one file, replaced as a whole. Changes are collected for a moment, longer when writing is slow, so
 * that a fleet reporting at once does not keep the disk busy; a killed hub may lose that last moment, a stopped one nothing.
 */
export class Store {
  readonly #file: string
  readonly #devices: Map<string, DeviceRecord>
  readonly #json = new WeakMap<DeviceRecord, string>()
  #settings: Settings
  #log: (line: string) => void
  #timer: NodeJS.Timeout | undefined
  #writing: Promise<void> = Promise.resolve()
  #pause = MIN_PAUSE_MS
  #closed = false

  private constructor(file: string, settings: Settings, devices: DeviceRecord[], log: (line: string) => void) {
    this.#file = file
    this.#settings = settings
    this.#devices = new Map(devices.map(device => [device.id, device]))
    this.#log = log
  }

  /** Reads what an earlier hub left in `dir`, or starts with `fresh`. */
  static async open(dir: string, fresh: Settings, log: (line: string) => void): Promise<Store> {
    await mkdir(dir, { recursive: true, mode: 0o700 })
    const file = join(dir, 'hub.json')
    try {
      const stored = JSON.parse(await readFile(file, 'utf8'))
      if (stored.format !== FORMAT) throw new Error(`format ${stored.format}, expected ${FORMAT}`)
      return new Store(file, stored.settings, stored.devices, log)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return new Store(file, fresh, [], log)
      throw new Error(`cannot read the hub's state in ${file}`, { cause: error })
    }
  }

  get settings(): Settings {
    return this.#settings
  }

  set settings(settings: Settings) {
    this.#settings = settings
    this.#changed()
  }

  get size(): number {
    return this.#devices.size
  }

  get(id: string): DeviceRecord | undefined {
    return this.#devices.get(id)
  }

  /** In order of creation. */
  all(): Iterable<DeviceRecord> {
    return this.#devices.values()
  }

  put(record: DeviceRecord): void {
    this.#devices.set(record.id, record)
    this.#changed()
  }

  delete(id: string): void {
    this.#devices.delete(id)
    this.#changed()
  }

  /** Resolves when everything until now is on disk. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const written = this.#writing.then(() => this.#write())
    this.#writing = written.catch(() => {}) // a full disk must not stop later attempts
    await written
  }

  /** Writes for the last time: what happens later, such as connections ending with the hub, is not worth remembering. */
  async close(): Promise<void> {
    this.#closed = true
    await this.flush()
  }

  #changed(): void {
    if (this.#closed) return
    this.#timer ??= setTimeout(() => {
      this.flush().catch(error => this.#log(`cannot write ${this.#file}: ${error}`))
    }, this.#pause)
  }

  async #write(): Promise<void> {
    const started = performance.now()
    const temporary = `${this.#file}.new`
    const file = await open(temporary, 'w', 0o600)
    try {
      await file.writeFile(this.#serialise())
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, this.#file)
    await syncDirectory(dirname(this.#file))
    this.#pause = Math.max(MIN_PAUSE_MS, 5 * (performance.now() - started))
  }

  /** Only records that changed are turned into text again. */
  #serialise(): string {
    const devices = Array.from(this.#devices.values(), device => {
      const json = this.#json.get(device) ?? JSON.stringify(device)
      this.#json.set(device, json)
      return json
    })
    return `{"format":${FORMAT},"settings":${JSON.stringify(this.#settings)},"devices":[\n${devices.join(',\n')}\n]}\n`
  }
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}
