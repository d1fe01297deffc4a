import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { uptime } from 'node:os'
import { join } from 'node:path'
import { messageOf } from '../../domain/errors.ts'
import { FLIGHT_HEADER, keyOf, lastBootOf, MAX_FLIGHT, type Reached, readFlight } from '../../domain/flight.ts'
import { onOneLine } from '../../domain/terminal.ts'
import type { FlightRecorder } from '../../ports/flight-recorder.ts'
import type { Log } from '../../ports/log.ts'
import { addresses } from '../system/addresses.ts'
import { writeAtomically } from './atomic-file.ts'

/** Files of a record. */
export interface FlightFiles {
  /** Written by the initramfs and by root's units; the agent only reads it. */
  readonly boots: string
  /** Written by the agent. */
  readonly own: string
  /** The key of the trial that comes next: what the initramfs takes over into its file. */
  readonly key: string
}

export const flightFiles = (dataFolder: string, flightFolder: string): FlightFiles => ({
  boots: join(flightFolder, 'boots'),
  own: join(dataFolder, 'flight'),
  key: join(dataFolder, 'flight.key'),
})

/** systemd-timesyncd makes it when the clock has been set. */
const SYNCHRONIZED = '/run/systemd/timesync/synchronized'

export class FlightRecord implements FlightRecorder {
  readonly #files: FlightFiles
  readonly #log: Log
  readonly #noted = new Set<string>()
  /** Key and boot of the running trial. */
  #trial: { readonly key: string; readonly boot: string } | undefined

  constructor(files: FlightFiles, log: Log) {
    this.#files = files
    this.#log = log
  }

  async expect(key: string): Promise<void> {
    // The number tells two trials of one attempt apart: a list may have several images.
    const whole = `${key}-${randomBytes(4).toString('hex')}`
    await this.#try(() => writeAtomically(this.#files.key, `${whole}\n`))
  }

  async note(key: string, isConnected: boolean): Promise<void> {
    await this.#try(async () => {
      this.#trial ??= await this.#begin(key)
      const reached: Reached[] = [
        'agent',
        ...(addresses().length > 0 || isConnected ? (['network'] as const) : []),
        ...(existsSync(SYNCHRONIZED) ? (['time'] as const) : []),
        ...(isConnected ? (['hub'] as const) : []),
      ]
      await this.#append(reached.map(name => ({ name })))
    })
  }

  /** How a health check of the owner's ended; once for each outcome. Only in a trial that was noted before. */
  async checked(check: string, isGood: boolean): Promise<void> {
    if (this.#trial) {
      const text = `${check.slice(0, 100)} ${isGood ? 'ok' : 'failed'}`
      await this.#try(() => this.#append([{ name: 'check', text: onOneLine(text) }]))
    }
  }

  async read(key: string) {
    const whole = await this.#currentKey(key)
    if (whole === undefined) return undefined
    const { boots, own } = this.#files
    return readFlight([await textOf(boots), await textOf(own)], whole)
  }

  /** Starts the agent's file over if it is about another trial. */
  async #begin(key: string): Promise<{ readonly key: string; readonly boot: string } | undefined> {
    const whole = await this.#currentKey(key)
    if (whole === undefined) return undefined
    const boots = await textOf(this.#files.boots)
    // Without the initramfs' line this is a boot of its own.
    const boot = (keyOf(boots) === whole && lastBootOf(boots)) || 'boot unknown 0'
    const before = await textOf(this.#files.own)
    const header = keyOf(before) === whole ? '' : `${FLIGHT_HEADER} ${whole}\n`
    // A power cut may have torn the last line off.
    const end = before === '' || before.endsWith('\n') ? '' : '\n'
    const line = lastBootOf(before) === boot && header === '' ? '' : `${boot}\n`
    if (header !== '') await writeAtomically(this.#files.own, header + line)
    else if (end + line !== '') await append(this.#files.own, end + line)
    return { key: whole, boot }
  }

  async #append(milestones: readonly { readonly name: string; readonly text?: string }[]): Promise<void> {
    if (!this.#trial) return
    const lines = milestones
      .map(({ name, text }) => [name, text] as const)
      .filter(each => !this.#noted.has(each.join(' ')))
    if (lines.length === 0) return
    for (const each of lines) this.#noted.add(each.join(' '))
    const at = uptime().toFixed(2)
    await append(this.#files.own, lines.map(([name, text]) => `${name} ${at}${text ? ` ${text}` : ''}\n`).join(''))
  }

  /** The key that the last `expect` wrote, if it is about this attempt. */
  async #currentKey(key: string): Promise<string | undefined> {
    const whole = (await textOf(this.#files.key)).trim()
    return whole.startsWith(`${key}-`) ? whole : undefined
  }

  async #try(work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      this.#log.warn('flight.not-recorded', { why: messageOf(error) })
    }
  }
}

/** At most `MAX_FLIGHT` bytes of it; empty when it cannot be read. */
export async function textOf(file: string): Promise<string> {
  const handle = await open(file).catch(() => undefined)
  try {
    if (!handle || !(await handle.stat()).isFile()) return ''
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(MAX_FLIGHT), 0, MAX_FLIGHT, 0)
    return buffer.toString('utf8', 0, bytesRead)
  } catch {
    return ''
  } finally {
    await handle?.close()
  }
}

async function append(file: string, lines: string): Promise<void> {
  const handle = await open(file, 'a', 0o600)
  try {
    if ((await handle.stat()).size + lines.length > MAX_FLIGHT) return
    await handle.write(lines)
    await handle.datasync()
  } finally {
    await handle.close()
  }
}
