import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ConfigError } from '../../domain/errors.ts'
import { PLACE, registrationIdFlaw } from '../../domain/registration-id.ts'
import { ownersText } from './owners-text.ts'

const SETTING = 'piAdu.provisioning.registrationId'
/**
 * The registration id of this board, in lower case, so that one image and one configuration serve a whole batch. `root`: the
 * folder with `/sys`. Errors: ConfigError for what a person must fix; another Error for an interface that may appear later.
 */
export async function registrationIdOf(pattern: string, root = '/'): Promise<string> {
  let id = ''
  let at = 0
  for (const match of pattern.matchAll(PLACE)) {
    id += pattern.slice(at, match.index) + (await filledIn(match[1] ?? '', root))
    at = match.index + match[0].length
  }
  id = (id + pattern.slice(at)).toLowerCase()
  const flaw = registrationIdFlaw(id)
  if (flaw) throw new ConfigError(`${SETTING}: the id of this device, ${JSON.stringify(id)}, ${flaw}`)
  return id
}

async function filledIn(place: string, root: string): Promise<string> {
  if (place === 'serial') return serialOf(root)
  const name = place.slice(place.indexOf(':') + 1)
  if (place.startsWith('file:')) return (await ownersText({ setting: SETTING, path: name }, false)).trim()
  const address = await readFile(join(root, 'sys/class/net', name, 'address'), 'utf8').catch(cause => {
    // Not a ConfigError, because the driver may be slow.
    throw new Error(`${SETTING}: this device has no network interface ${name} yet`, { cause })
  })
  return address.trim().replaceAll(':', '')
}

/** The serial number from the device tree, which ends with a NUL (devicetree specification, "serial-number"). */
async function serialOf(root: string): Promise<string> {
  const file = join(root, 'sys/firmware/devicetree/base/serial-number')
  const text = await readFile(file, 'latin1').catch(cause => {
    throw new ConfigError(`${SETTING}: this board has no serial number (${file} is missing)`, { cause })
  })
  const serial = text.replace(/\0.*$/s, '').trim()
  if (/^0*$/.test(serial)) throw new ConfigError(`${SETTING}: this board's serial number is empty or zero`)
  return serial
}
