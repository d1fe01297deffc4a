import { constants } from 'node:fs'
import { access, readdir, readFile, statfs } from 'node:fs/promises'
import os from 'node:os'
import { join } from 'node:path'
import { messageOf, ProcessError } from '../domain/errors.ts'
import type { Host, Log } from '../ports.ts'
import { cut } from '../workflow/report.ts'
import { run } from './exec.ts'

export interface HostOptions {
  readonly manufacturer: string
  readonly model: string
  readonly versionFile: string
  readonly rebootCommand: readonly [string, ...string[]]
  /** Whether systemd's failed units are findings. */
  readonly failedUnits: boolean
  /** The owner's own checks: every executable in it must exit with 0. */
  readonly checksFolder: string
  /** Milliseconds for one check. */
  readonly checkTimeout: number
}

/** The hub's limit for each value (protocol, chapter 1.4). */
const MAX_VALUE_BYTES = 64

export class SystemHost implements Host {
  readonly #options: HostOptions
  readonly #log: Log

  constructor(options: HostOptions, log: Log) {
    this.#options = options
    this.#log = log
  }

  async version(): Promise<string> {
    const { versionFile } = this.#options
    const text = await readFile(versionFile, 'utf8').catch(error => {
      this.#log.error('version.unreadable', { why: messageOf(error) })
      return ''
    })
    return text.split('\n')[0]?.trim() ?? ''
  }

  async reboot(signal: AbortSignal): Promise<void> {
    this.#log.info('reboot')
    await run(this.#options.rebootCommand, { signal, timeout: 60_000, code: 'INTERNAL' })
  }

  async findings(signal: AbortSignal, known: readonly string[]): Promise<readonly string[]> {
    const fresh = (await this.failedUnits(signal)).filter(unit => !known.includes(unit))
    return [...fresh.map(unit => `unit ${unit} failed`), ...(await this.#failedChecks(signal))]
  }

  async failedUnits(signal: AbortSignal): Promise<readonly string[]> {
    if (!this.#options.failedUnits) return []
    const argv = ['systemctl', 'list-units', '--failed', '--plain', '--no-legend', '--no-pager'] as const
    const text = await run([...argv], { signal, timeout: 30_000, code: 'HEALTH' })
    return text
      .split('\n')
      .filter(Boolean)
      .map(line => line.split(' ')[0]!)
  }

  async #failedChecks(signal: AbortSignal): Promise<readonly string[]> {
    const { checksFolder, checkTimeout } = this.#options
    const names = await readdir(checksFolder).catch(() => [] as string[])
    const findings: string[] = []
    for (const name of names.sort()) {
      const file = join(checksFolder, name)
      try {
        await access(file, constants.X_OK)
        await run([file], { signal, timeout: checkTimeout, code: 'HEALTH' })
      } catch (error) {
        signal.throwIfAborted()
        const why = error instanceof ProcessError ? error.message.slice(file.length + 1) : 'is not executable'
        findings.push(`health check ${name} ${why}`)
      }
    }
    return findings
  }

  async information(): Promise<Readonly<Record<string, string | number>>> {
    const { manufacturer, model } = this.#options
    const release = await readFile('/etc/os-release', 'utf8').catch(() => '')
    const cpu = await readFile('/proc/cpuinfo', 'utf8').catch(() => '')
    const field = (name: string): string | undefined => new RegExp(`^${name}="?([^"\n]*)`, 'm').exec(release)?.[1]
    const vendor =
      /^vendor_id\s*: (.*)$/m.exec(cpu)?.[1] ?? (/^CPU implementer\s*: 0x41$/m.test(cpu) ? 'ARM' : undefined)
    const disk = await statfs('/').catch(() => undefined)
    const all: Record<string, string | number | undefined> = {
      manufacturer,
      model,
      osName: field('NAME') ?? os.type(),
      swVersion: field('VERSION') ?? os.release(),
      processorArchitecture: os.machine(),
      processorManufacturer: vendor,
      totalMemory: Math.round(os.totalmem() / 1024),
      totalStorage: disk && Math.round((disk.blocks * disk.bsize) / 1024),
    }
    const known = Object.entries(all).filter((entry): entry is [string, string | number] => entry[1] !== undefined)
    return Object.fromEntries(
      known.map(([key, value]) => [key, typeof value === 'string' ? cut(value, MAX_VALUE_BYTES) : value]),
    )
  }
}
