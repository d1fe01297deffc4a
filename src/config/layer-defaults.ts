import { readFile } from 'node:fs/promises'
import { ConfigError, messageOf } from '../domain/errors.ts'
import { isObject, member } from '../domain/members.ts'

/** What the layers of the image set for all its devices; a part of the slot. The image's builder has checked it. */
export const LAYER_DEFAULTS = '/usr/lib/pi-adu/du-config.defaults.json'

/** `undefined` where there is no such file. Errors: ConfigError. */
export async function layerDefaults(file: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(file, 'utf8'))
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new ConfigError(`${file}: ${messageOf(cause)}`, { cause })
  }
}

/** Their settings belong together: half of each could contradict the other. */
const AS_A_WHOLE = ['leds', 'button', 'gates']

/**
 * `own` with the members that only `defaults` has. Objects are merged, but for sections that stand as a whole; any other value of `own`,
 * a list too, stands as it is. Pure.
 */
export function merged(own: unknown, defaults: unknown): unknown {
  if (own === undefined) return defaults
  if (!isObject(own) || !isObject(defaults)) return own
  const names = new Set([...Object.keys(own), ...Object.keys(defaults)])
  const memberOf = (name: string): unknown => {
    const [mine, other] = [member(own, name), member(defaults, name)]
    return AS_A_WHOLE.includes(name) ? (mine ?? other) : merged(mine, other)
  }
  return Object.fromEntries([...names].map(name => [name, memberOf(name)]))
}
