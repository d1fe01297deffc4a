import type { Gpio } from 'onoff'
import { messageOf } from '../../domain/errors.ts'
import type { LightRole, Lights, Lit } from '../../ports/lights.ts'
import type { Log } from '../../ports/log.ts'
import { checkLed, KernelLed, type KernelLedOptions } from './kernel-led.ts'
import { globalNumber } from './line-number.ts'

export type LightSettings = { readonly role: LightRole } & (
  | {
      /** BCM pin number. */
      readonly gpio: number
      readonly activeLow: boolean
    }
  | KernelLedOptions
)

/** One light. Each method may throw. */
export interface Light {
  set(on: boolean): void
  end(): void
}

/**
 * The lights of this board. If it lacks one, a line is busy or `onoff` is missing, that light stays off and updates go on; this
 * is logged once.
 */
export async function openLights(settings: readonly LightSettings[], log: Log): Promise<Lights> {
  const lights: NamedLight[] = []
  for (const each of settings) {
    const name = 'gpio' in each ? `GPIO ${each.gpio}` : each.led
    try {
      lights.push({ name, role: each.role, light: await open(each) })
    } catch (error) {
      log.warn('led.unavailable', { led: name, why: messageOf(error) })
    }
  }
  return new BoardLights(lights, log)
}

async function open(settings: LightSettings): Promise<Light> {
  if ('led' in settings) {
    await checkLed(settings.led)
    return new KernelLed(settings)
  }
  const { Gpio } = await import('onoff')
  return gpioLight(new Gpio(await globalNumber(settings.gpio), 'out', 'none', { activeLow: settings.activeLow }))
}

/** A line of sysfs keeps its level after the process has ended. */
export const gpioLight = (line: Pick<Gpio, 'writeSync'>): Light => ({
  set: on => line.writeSync(on ? 1 : 0),
  end: () => line.writeSync(0),
})

interface NamedLight {
  readonly name: string
  readonly role: LightRole
  readonly light: Light
}

export class BoardLights implements Lights {
  #lights: readonly NamedLight[]
  readonly #log: Log

  constructor(lights: readonly NamedLight[], log: Log) {
    this.#lights = lights
    this.#log = log
  }

  set(lit: Lit): void {
    this.#each(({ light, role }) => light.set(lit[role]))
  }

  end(): void {
    this.#each(({ light }) => light.end())
    this.#lights = []
  }

  /** A light that fails is left alone from then on. */
  #each(call: (light: NamedLight) => void): void {
    this.#lights = this.#lights.filter(each => {
      try {
        call(each)
        return true
      } catch (error) {
        this.#log.warn('led.unavailable', { led: each.name, why: messageOf(error) })
        return false
      }
    })
  }
}
