import { createHash } from 'node:crypto'
import { checkedConfig } from '../../config/config.ts'
import { connectionFields } from '../../domain/connection-string.ts'
import { messageOf } from '../../domain/errors.ts'
import { decodeText, parseJsonText } from '../../domain/text.ts'
import { CARD_FILES } from './card-files.ts'

/** Who a card is. */
export interface CardIdentity {
  /** Lower case; undefined when each board makes it from its serial number or the like. */
  readonly id: string | undefined
  /** Hashes of what only one device may have. */
  readonly credentials: readonly { readonly what: string; readonly sha256: string }[]
}

/** Where the system puts the files of a card. */
const DATA = '/data/adu/'

/** The identity in `du-config.json`; undefined when the agent would refuse the file, which is then in `flaws`. Never quotes it. */
export function identityIn(
  config: Buffer,
  contents: ReadonlyMap<string, Buffer>,
  flaws: string[],
): CardIdentity | undefined {
  try {
    const { config: read, source } = checkedConfig(parseJsonText(decodeText(config), 'onceOnly'), 'du-config.json')
    const { provisioning } = read.piAdu
    const connection = new Map(connectionFields(provisioning ? '' : (source?.connectionData ?? '')))
    const id = provisioning ? provisioning.registrationId : connection.get('DeviceId')
    const isPattern = id?.includes('{') ?? true
    const secrets: readonly (readonly [string, Buffer | string | undefined])[] = [
      ['the key', connection.get('SharedAccessKey')],
      ...['dps.key', 'device.key', 'device.pem'].map(name => [`the ${name}`, contents.get(name)] as const),
    ]
    return {
      id: isPattern ? undefined : id?.toLowerCase(),
      credentials: secrets.flatMap(([what, secret]) =>
        secret === undefined ? [] : [{ what, sha256: createHash('sha256').update(secret).digest('hex') }],
      ),
    }
  } catch (error) {
    const words = messageOf(error)
    flaws.push(words.startsWith('du-config.json') ? words : `du-config.json ${words}`)
    return undefined
  }
}

/** Files that the configuration names at their place on the device, and the card does not bring; one sentence each. */
export function missingFiles(config: Buffer, contents: ReadonlyMap<string, Buffer>): readonly string[] {
  const named = new Set<string>()
  const visit = (value: unknown): void => {
    if (typeof value === 'string' && value.startsWith(DATA)) named.add(value.slice(DATA.length))
    else if (typeof value === 'object' && value !== null) for (const each of Object.values(value)) visit(each)
  }
  visit(parseJsonText(decodeText(config)))
  // A device may make its private key itself.
  const expected = CARD_FILES.filter(name => named.has(name) && name !== 'device.key' && !contents.has(name))
  return expected.map(name => `du-config.json names ${DATA}${name}, and there is no ${name}`)
}
