import { lstat, readFile } from 'node:fs/promises'
import { messageOf } from '../../domain/errors.ts'
import { whyNotOwned } from '../owned.ts'

/** Beside the settings of the step service. */
export const DEVICE_FILE = '/etc/pi-adu/swupdate-handler-config.json'

/** The device's file cannot be used. */
export class DeviceFileError extends Error {
  override readonly name = 'DeviceFileError'
}

/**
 * The words that the device adds to every call of a `microsoft/swupdate:2` script: each member's name, then its value, in the
 * file's order. None without the file. Errors: DeviceFileError.
 */
export async function deviceWords(path: string): Promise<readonly string[]> {
  if (!(await isThere(path))) return []
  const why = await whyNotOwned(path)
  if (why !== undefined) throw new DeviceFileError(why)
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    throw new DeviceFileError(`${path} cannot be read: ${messageOf(error)}`)
  }
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (error) {
    throw new DeviceFileError(`${path} is not valid JSON: ${messageOf(error)}`)
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new DeviceFileError(`${path} is not a JSON object`)
  }
  return Object.entries(json).flatMap(([name, value]) => {
    if (typeof value !== 'string') throw new DeviceFileError(`${path}: "${name}" is not a text`)
    if (`${name}${value}`.includes('\0')) throw new DeviceFileError(`${path}: "${name}" has a NUL character`)
    return [name, value]
  })
}

const isThere = (path: string): Promise<boolean> =>
  lstat(path).then(
    () => true,
    error => (error as NodeJS.ErrnoException).code !== 'ENOENT',
  )
