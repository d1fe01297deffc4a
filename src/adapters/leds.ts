import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Gpio } from 'onoff'
import { messageOf } from '../domain/errors.ts'
import type { Indicator, Log } from '../ports.ts'
import type { Mood } from '../workflow/mood.ts'

export interface LedOptions {
  /** BCM pin numbers. */
  readonly green: number | undefined
  readonly red: number | undefined
  readonly activeLow: boolean
}

/** Labels of the chip that has the BCM lines: Pi 0 to 3, Pi 4, Pi 5. */
const BCM_CHIPS = ['pinctrl-bcm2835', 'pinctrl-bcm2711', 'pinctrl-rp1']

/** [milliseconds on, milliseconds off] of each colour; 0 off: steady. */
const PATTERN: Readonly<
  Record<Mood, { readonly green?: readonly [number, number]; readonly red?: readonly [number, number] }>
> = {
  connecting: { green: [100, 1900] },
  idle: { green: [1, 0] },
  installing: { green: [250, 250] },
  restarting: { green: [100, 100] },
  trial: { green: [250, 250], red: [250, 250] },
  failed: { green: [1, 0], red: [1, 0] },
}

/**
 * Indicator over GPIO. A board without the pin, a busy line or a missing `onoff` costs the light, never the update: it is
 * logged once.
 */
export async function openLeds(options: LedOptions, log: Log): Promise<Indicator> {
  const open = async (pin: number | undefined): Promise<Gpio | undefined> => {
    if (pin === undefined) return undefined
    try {
      const { Gpio } = await import('onoff')
      return new Gpio(await globalNumber(pin), 'out', 'none', { activeLow: options.activeLow })
    } catch (error) {
      log.warn('led.unavailable', { pin, why: messageOf(error) })
      return undefined
    }
  }
  return new Leds({ green: await open(options.green), red: await open(options.red) }, log)
}

/** Kernels number lines from a chip's base (512 on current ones), so a BCM number is not the one sysfs wants. */
export async function globalNumber(pin: number, folder = '/sys/class/gpio'): Promise<number> {
  const read = (chip: string, file: string): Promise<string> => readFile(join(folder, chip, file), 'utf8')
  const chips = (await readdir(folder)).filter(name => name.startsWith('gpiochip'))
  for (const chip of chips) {
    if (!BCM_CHIPS.includes((await read(chip, 'label')).trim())) continue
    if (pin >= Number(await read(chip, 'ngpio'))) throw new Error(`this board has no GPIO ${pin}`)
    return Number(await read(chip, 'base')) + pin
  }
  throw new Error(`no chip of a Raspberry Pi in ${folder}`)
}

type Colour = 'green' | 'red'
type Line = Pick<Gpio, 'writeSync'>

export class Leds implements Indicator {
  readonly #lines: Readonly<Record<Colour, Line | undefined>>
  readonly #log: Log
  #mood: Mood | undefined
  #timers: NodeJS.Timeout[] = []

  constructor(lines: Readonly<Record<Colour, Line | undefined>>, log: Log) {
    this.#lines = lines
    this.#log = log
  }

  show(mood: Mood): void {
    if (mood === this.#mood) return
    this.#mood = mood
    this.#log.info('mood', { mood })
    for (const timer of this.#timers) clearTimeout(timer)
    this.#timers = []
    for (const colour of ['green', 'red'] as const) {
      const line = this.#lines[colour]
      if (line) this.#blink(line, PATTERN[mood][colour] ?? [0, 0], true)
    }
  }

  #blink(line: Line, [on, off]: readonly [number, number], lit: boolean): void {
    try {
      line.writeSync(lit && on > 0 ? 1 : 0)
    } catch (error) {
      this.#log.warn('led.unavailable', { why: messageOf(error) })
      return
    }
    if (on === 0 || off === 0) return
    const timer = setTimeout(
      () => {
        this.#timers.splice(this.#timers.indexOf(timer), 1)
        this.#blink(line, [on, off], !lit)
      },
      lit ? on : off,
    )
    timer.unref()
    this.#timers.push(timer)
  }
}
