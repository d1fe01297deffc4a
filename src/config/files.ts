import { existsSync } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { ConfigError, messageOf } from '../domain/errors.ts'
import { unreadable } from '../domain/owners-file.ts'
import { decodeText, parseJsonText, TextError } from '../domain/text.ts'
import { LAYER_DEFAULTS, layerDefaults, merged } from './layer-defaults.ts'

/** Ends a sentence that begins with the file. */
const ADU_CONF =
  'is the configuration of the reference agent of 2021 (lines of key=value): write its connection_string, aduc_manufacturer and aduc_model into a du-config.json'

/** The JSON of the configuration file, with the defaults of the image's layers. Errors: ConfigError that never quotes it. */
export async function load(file: string, defaults = LAYER_DEFAULTS): Promise<unknown> {
  try {
    const { mode } = await stat(file)
    if ((mode & 0o007) !== 0) {
      throw new ConfigError(`${file} holds the device's key, but everybody can read it: chmod 600 it`)
    }
    const text = decodeText(await readFile(file))
    if (/^\s*(connection_string|aduc_\w+)\s*=/m.test(text)) throw new ConfigError(`${file} ${ADU_CONF}`)
    return merged(parseJsonText(text, 'onceOnly'), await layerDefaults(defaults))
  } catch (error) {
    if (error instanceof ConfigError) throw error
    if (error instanceof TextError) throw new ConfigError(`${file} ${error.message}`, { cause: error })
    const old = join(dirname(file), 'adu-conf.txt')
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' && existsSync(old)) {
      throw new ConfigError(`${file} is missing, and ${old} ${ADU_CONF}`, { cause: error })
    }
    throw unreadable(file, error)
  }
}

function textOf(bytes: Buffer, what: string): string {
  try {
    return decodeText(bytes)
  } catch (cause) {
    throw new ConfigError(`${what} ${messageOf(cause)}`, { cause })
  }
}

/** Checks the mode of the key file, which only SWUpdate reads. Errors: ConfigError. */
export async function checkKeyFile(file: string): Promise<void> {
  const { mode } = await stat(file).catch(cause => {
    throw unreadable('piAdu.swupdate.keyFile:', cause)
  })
  if ((mode & 0o007) !== 0) {
    throw new ConfigError(`piAdu.swupdate.keyFile: ${file} holds the key, but everybody can read it: chmod 640 it`)
  }
}

/** The PEM text that the setting `field` names. Errors: ConfigError. */
export async function pem(field: string, file: string | undefined): Promise<string | undefined> {
  if (file === undefined) return undefined
  const bytes = await readFile(file).catch(cause => {
    throw unreadable(`${field}:`, cause)
  })
  const content = textOf(bytes, `${field}: ${file}`)
  if (!content.includes('-----BEGIN CERTIFICATE-----'))
    throw new ConfigError(`${field}: ${file} has no PEM certificate`)
  return content
}
