import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import * as v from 'valibot'
import { type LightSettings, openLights } from '../adapters/gpio/lights.ts'
import { sameStorage } from '../adapters/slot/slot-in-use.ts'
import { systemStorage } from '../adapters/slot/storage.ts'
import { type Config, readConfig } from '../config/config.ts'
import { identitySettings } from '../config/identity.ts'
import { DEFAULT_CHECKS_FOLDER } from '../config/sections/health.ts'
import { leds, lightsOf } from '../config/sections/leds.ts'
import { devicesOf } from '../config/sections/slots.ts'
import { ConfigError } from '../domain/errors.ts'
import { decodeText } from '../domain/text.ts'
import { REFUSED_AND_ENDED } from '../lights/patterns.ts'
import { SILENT } from '../ports/log.ts'

/** As readConfig; also checks what only the device itself shows. Errors: ConfigError. */
export async function readCheckedConfig(file: string): Promise<Config> {
  const read = await readConfig(file)
  const methodless =
    read.piAdu.firmwareUpdate.enabled && !read.hasSlots
      ? ['piAdu.firmwareUpdate.enabled: no effect, as this device has no slots (piAdu.slots)']
      : []
  const config = { ...read, warnings: [...read.warnings, ...methodless, ...(await identityWarnings(file, read))] }
  const device = devicesOf(config.piAdu.slots)
  if (!(await sameStorage(device, systemStorage))) {
    const { checksFolder } = config.piAdu.health
    if (checksFolder === DEFAULT_CHECKS_FOLDER || existsSync(checksFolder)) return config
    const lacks = `piAdu.health.checksFolder: there is no ${checksFolder}, so none of your own checks is run`
    return { ...config, warnings: [...config.warnings, lacks] }
  }
  const same = device.a === device.b ? device.a : `${device.a} and ${device.b} are one device`
  throw new ConfigError(`${file}: piAdu.slots: a and b must be two devices: ${same}`)
}

async function identityWarnings(file: string, config: Config): Promise<readonly string[]> {
  // It has no files, and the check loads much.
  if (identitySettings(config).kind === 'connectionString') return []
  try {
    const { checkIdentity } = await import('./check-identity.ts')
    return await checkIdentity(config)
  } catch (error) {
    if (error instanceof ConfigError) throw new ConfigError(`${file}: ${error.message}`, { cause: error })
    throw error
  }
}

/**
 * As readCheckedConfig; a refused file also shows on the lights. They stay lit after this process has ended, because sysfs keeps the
 * level of a line.
 */
export async function readConfigOrShow(file: string): Promise<Config> {
  try {
    return await readCheckedConfig(file)
  } catch (error) {
    if (error instanceof ConfigError) await showRefusal(file)
    throw error
  }
}

async function showRefusal(file: string): Promise<void> {
  const lights = lightsIn(
    await readFile(file)
      .then(decodeText, () => '')
      .catch(() => ''),
  )
  if (lights.length > 0) (await openLights(lights, SILENT)).set(REFUSED_AND_ENDED)
}

/** The lights in a file that may have mistakes elsewhere. */
export function lightsIn(text: string): readonly LightSettings[] {
  const start = /"leds"\s*:\s*(?=\{)/.exec(text)
  if (!start) return []
  try {
    return lightsOf(v.parse(leds, JSON.parse(objectAt(text, start.index + start[0].length))))
  } catch {
    return []
  }
}

/** From the brace at `start` to the one that closes it. */
function objectAt(text: string, start: number): string {
  const token = /"(?:[^"\\]|\\.)*"|[{}]/g
  token.lastIndex = start
  for (let depth = 0; ; ) {
    const found = token.exec(text)
    if (!found) return ''
    depth += found[0] === '{' ? 1 : found[0] === '}' ? -1 : 0
    if (depth === 0) return text.slice(start, token.lastIndex)
  }
}
