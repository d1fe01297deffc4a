import { readFile, statfs } from 'node:fs/promises'
import os from 'node:os'
import { dayOf } from '../../domain/eeprom.ts'
import { messageOf } from '../../domain/errors.ts'
import { cut } from '../../domain/text.ts'
import type { Host } from '../../ports/host.ts'
import type { Log } from '../../ports/log.ts'
import type { Runner } from '../../ports/runner.ts'
import { bootIdOf } from './boot-id.ts'
import { bootloaderBuilt } from './eeprom.ts'
import { programs } from './exec.ts'
import { HealthChecks, type OnCheck } from './health-checks.ts'

export interface HostOptions {
  readonly manufacturer: string
  readonly model: string
  /** Its first line is the version of the system; undefined: it has none. */
  readonly versionFile: string | undefined
  /** See `bootIdOf`. */
  readonly kernelCommandLine: string
  readonly rebootCommand: readonly [string, ...string[]]
  /** Whether failed systemd units count as findings. */
  readonly failedUnits: boolean
  /** The owner's own checks, see HealthChecks. */
  readonly checksFolder: string
  /** Milliseconds for one check. */
  readonly checkTimeout: number
  readonly onCheck?: OnCheck
  /** See `bootloaderBuilt`; for tests. */
  readonly bootloaderFile?: string
}

/** In characters, for each value (PROTOCOL.md, "Startup report"). */
const MAX_VALUE_BYTES = 64

export class SystemHost implements Host {
  readonly #options: HostOptions
  readonly #log: Log
  readonly #runner: Runner
  readonly #checks: HealthChecks

  constructor(options: HostOptions, log: Log, runner: Runner = programs) {
    this.#options = options
    this.#log = log
    this.#runner = runner
    this.#checks = new HealthChecks(options.checksFolder, options.checkTimeout, log, runner, options.onCheck)
  }

  async version(): Promise<string> {
    const { versionFile } = this.#options
    if (versionFile === undefined) return ''
    const text = await readFile(versionFile, 'utf8').catch(error => {
      this.#log.error('version.unreadable', { why: messageOf(error) })
      return ''
    })
    return text.split('\n')[0]?.trim() ?? ''
  }

  async bootId(): Promise<string> {
    return bootIdOf(this.#options.kernelCommandLine)
  }

  async reboot(args: readonly string[], signal: AbortSignal): Promise<void> {
    // The command may go on in the background.
    const limits = { signal, timeout: 60_000, leavesOthers: true }
    await this.#runner.runQuietly([...this.#options.rebootCommand, ...args], { ...limits, code: 'INTERNAL' })
  }

  async findings(signal: AbortSignal, known: readonly string[], within: number): Promise<readonly string[]> {
    const begun = performance.now()
    const fresh = (await this.failedUnits(signal)).filter(unit => !known.includes(unit))
    const left = within - (performance.now() - begun)
    return [...fresh.map(unit => `unit ${unit} failed`), ...(await this.#checks.findings(signal, left))]
  }

  async failedUnits(signal: AbortSignal): Promise<readonly string[]> {
    if (!this.#options.failedUnits) return []
    const argv = ['systemctl', 'list-units', '--failed', '--plain', '--no-legend', '--no-pager'] as const
    const text = await this.#runner.run([...argv], { signal, timeout: 30_000, code: 'HEALTH' })
    return text
      .split('\n')
      .filter(Boolean)
      .map(line => line.split(' ')[0]!)
  }

  async information(): Promise<Readonly<Record<string, string | number>>> {
    const { manufacturer, model } = this.#options
    const release = await readFile('/etc/os-release', 'utf8').catch(() => '')
    const cpu = await readFile('/proc/cpuinfo', 'utf8').catch(() => '')
    const field = (name: string): string | undefined => new RegExp(`^${name}="?([^"\n]*)`, 'm').exec(release)?.[1]
    const vendor =
      /^vendor_id\s*: (.*)$/m.exec(cpu)?.[1] ?? (/^CPU implementer\s*: 0x41$/m.test(cpu) ? 'ARM' : undefined)
    // Not in Microsoft's model: a query over the fleet finds devices with a faulty EEPROM by it.
    const built = await bootloaderBuilt(this.#options.bootloaderFile)
    const disk = await statfs('/').catch(() => undefined)
    const all: Record<string, string | number | undefined> = {
      manufacturer,
      model,
      osName: field('NAME') ?? os.type(),
      swVersion: field('VERSION') ?? os.release(),
      processorArchitecture: os.machine(),
      processorManufacturer: vendor,
      totalMemory: Math.round(os.totalmem() / 1024),
      bootloaderBuilt: built && dayOf(built),
      totalStorage: disk && Math.round((disk.blocks * disk.bsize) / 1024),
    }
    const known = Object.entries(all).filter((entry): entry is [string, string | number] => entry[1] !== undefined)
    return Object.fromEntries(
      known.map(([key, value]) => [key, typeof value === 'string' ? cut(value, MAX_VALUE_BYTES) : value]),
    )
  }
}
