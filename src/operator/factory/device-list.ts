import { EXIT, Failure } from '../failure.ts'
import { readInput, textOf } from '../input.ts'
import { checkedDeviceId, checkedRegistrationId } from './names.ts'

/** A device to be enrolled. */
export interface Wanted {
  /** Lower case. */
  readonly registrationId: string
  /** Differs from the registration id only if the enrollment says so. */
  readonly deviceId?: string
  /** File with its certificate request; its key stays on the device. */
  readonly csr?: string
}

export const MAX_DEVICES = 10_000
const COLUMNS = ['registrationid', 'deviceid', 'csr']

/**
 * A CSV with a header: `registrationId`, and if wanted `deviceId` and `csr` (a file). Comma or semicolon, quotes, any line ends.
 * Every line is checked before the first device is enrolled. Errors: Failure that names the line.
 */
export async function readDevices(file: string, withCertificate: boolean): Promise<Wanted[]> {
  const lines = textOf(await readInput(file), file).split(/\r\n|\n|\r/)
  const separator: Separator = lines[0]?.includes(';') ? ';' : ','
  const names = fieldsOf(lines[0] ?? '', separator)?.map(name => name.toLowerCase()) ?? []
  const unknown = names.find(name => !COLUMNS.includes(name))
  if (!names.includes('registrationid') || unknown !== undefined || new Set(names).size < names.length) {
    throw new Failure(EXIT.usage, `${file}: its first line must name the columns: registrationId, and deviceId, csr`)
  }
  const devices: Wanted[] = []
  const seen = new Map<string, number>()
  const deviceIds = new Map<string, number>()
  for (const [index, line] of lines.entries()) {
    if (index === 0 || line.trim() === '') continue
    const where = `${file}, line ${index + 1}`
    const fields = fieldsOf(line, separator)
    if (fields?.length !== names.length) throw new Failure(EXIT.usage, `${where}: it must have ${names.length} fields`)
    const field = (name: string) => fields[names.indexOf(name)] || undefined
    const given = field('registrationid') ?? ''
    const registrationId = checkedRegistrationId(given, `${where}: ${JSON.stringify(given)}`, withCertificate)
    const earlier = seen.get(registrationId)
    if (earlier !== undefined)
      throw new Failure(EXIT.usage, `${where}: ${registrationId} is in line ${earlier} already`)
    seen.set(registrationId, index + 1)
    const [device, csr] = [field('deviceid'), field('csr')]
    if (csr !== undefined && !withCertificate) throw new Failure(EXIT.usage, `${where}: a csr needs --x509`)
    const deviceId = device === undefined ? undefined : checkedDeviceId(device, `${where}: ${JSON.stringify(device)}`)
    // Two devices with one identity would push each other off the hub.
    const atHub = deviceId ?? registrationId
    const same = deviceIds.get(atHub)
    if (same !== undefined) throw new Failure(EXIT.usage, `${where}: line ${same} has the device id ${atHub} already`)
    deviceIds.set(atHub, index + 1)
    devices.push({ registrationId, ...(deviceId && { deviceId }), ...(csr && { csr }) })
  }
  if (devices.length === 0) throw new Failure(EXIT.usage, `${file} has no device`)
  if (devices.length > MAX_DEVICES) throw new Failure(EXIT.usage, `${file} has more than ${MAX_DEVICES} devices`)
  return devices
}

type Separator = keyof typeof FIELD
const FIELD = {
  ',': /^\s*(?:"((?:[^"]|"")*)"|([^",]*?))\s*(?=,|$)/,
  ';': /^\s*(?:"((?:[^"]|"")*)"|([^";]*?))\s*(?=;|$)/,
}

/** Undefined when a quote is not where a field begins or ends. */
function fieldsOf(line: string, separator: Separator): string[] | undefined {
  const fields: string[] = []
  for (let rest = line; ; rest = rest.slice(1)) {
    const match = FIELD[separator].exec(rest)
    if (!match) return undefined
    fields.push(match[1]?.replaceAll('""', '"') ?? match[2] ?? '')
    rest = rest.slice(match[0].length)
    if (rest === '') return fields
  }
}
