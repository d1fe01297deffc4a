import { closeSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'

export const LED_CLASS = '/sys/class/leds'
/** In memory, as triggers are, and not emptied when the agent ends. It may be missing. */
const NOTES = '/run/pi-adu'

export interface KernelLedOptions {
  /** Its name in the LED class. */
  readonly led: string
  /** Per cent. */
  readonly brightness: number
  /** The trigger that it gets at the end; undefined: the one that it had. */
  readonly whenStopped: string | undefined
}

/** Errors: Error, which names the LEDs that there are. */
export async function checkLed(name: string, folder = LED_CLASS): Promise<void> {
  const names = (await readdir(folder).catch(() => [])).sort()
  if (names.includes(name)) return
  throw new Error(`there is no ${join(folder, name)}; this board has ${names.join(', ') || 'none'}`)
}

/** An LED of the kernel's LED class (Documentation/leds/leds-class.rst), taken from its trigger. All methods throw what the kernel says. Its trigger is noted: an agent that was killed could not give it back. */
export class KernelLed {
  readonly #folder: string
  readonly #on: string
  readonly #after: string
  readonly #fd: number
  readonly #note: string

  constructor({ led, brightness, whenStopped }: KernelLedOptions, folder = LED_CLASS, notes = NOTES) {
    this.#folder = join(folder, led)
    this.#note = join(notes, `led-${led}`)
    const most = Number(readFileSync(join(this.#folder, 'max_brightness'), 'utf8'))
    this.#on = String(Math.max(1, Math.round((most * brightness) / 100)))
    // All triggers on one line, with brackets around the one that is in use.
    const triggers = readFileSync(join(this.#folder, 'trigger'), 'utf8').trim()
    const names = triggers.replace(/[[\]]/g, '').split(' ')
    const found = /\[(.+?)\]/.exec(triggers)?.[1] ?? 'none'
    const noted = found === 'none' ? unlessFails(() => readFileSync(this.#note, 'utf8').trim()) : undefined
    const own = noted !== undefined && names.includes(noted) ? noted : found
    this.#after = whenStopped ?? own
    if (!names.includes(this.#after)) throw new Error(`the kernel has no LED trigger "${this.#after}"`)
    // First: an LED that cannot be lit keeps its trigger.
    this.#fd = openSync(join(this.#folder, 'brightness'), 'w')
    if (found !== 'none') unlessFails(() => this.#noted(found))
    try {
      this.#write('trigger', 'none')
    } catch (error) {
      closeSync(this.#fd)
      throw error
    }
  }

  set(on: boolean): void {
    writeSync(this.#fd, on ? this.#on : '0', 0)
  }

  end(): void {
    try {
      this.set(false)
    } finally {
      closeSync(this.#fd)
      this.#write('trigger', this.#after)
    }
    unlessFails(() => rmSync(this.#note, { force: true }))
  }

  /** Others may write to the folder too: a link there is removed, and not followed. */
  #noted(trigger: string): void {
    rmSync(this.#note, { force: true })
    writeFileSync(this.#note, trigger, { flag: 'wx' })
  }

  #write(file: string, text: string): void {
    writeFileSync(join(this.#folder, file), text)
  }
}

/** Without the note an agent that was killed leaves the LED without its trigger, until the next boot. */
function unlessFails<T>(work: () => T): T | undefined {
  try {
    return work()
  } catch {
    return undefined
  }
}
