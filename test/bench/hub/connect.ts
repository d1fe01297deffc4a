import type { X509Certificate } from 'node:crypto'
import type { IConnectPacket } from 'mqtt-packet'
import { type CertificateChain, commonName, hasThumbprint, isValidAt, stepsTo } from './client-certificate.ts'
import { moduleId, resourcePath } from './ids.ts'
import { decoded, expiryOf, isSignedBy, parseSas, resourceOf, withoutPort } from './sas.ts'
import type { DeviceRecord } from './store.ts'

/** What a good CONNECT tells. */
export interface Accepted {
  readonly device: DeviceRecord
  readonly modelId: string
  /** Milliseconds since the epoch, of the token; infinite with a certificate. */
  readonly expires: number
}

export interface ConnectContext {
  readonly hosts: readonly string[]
  readonly now: number
  readonly find: (id: string) => DeviceRecord | undefined
  /** What the client has shown at TLS. */
  readonly chain: CertificateChain
  /** May sign certificates of devices. */
  readonly authorities: readonly X509Certificate[]
}

/** Checks a CONNECT (PROTOCOL.md, "Connection"). A text is the reason to refuse it, for the log only: the client gets code 5. */
export function authenticate(packet: IConnectPacket, context: ConnectContext): Accepted | string {
  const [host, deviceId, ...rest] = (packet.username ?? '').split('/')
  const query = rest.pop()
  const [module] = rest
  if (!host || !deviceId || !query?.startsWith('?') || rest.length > 1 || module === '') return 'malformed username'
  const clientId = module === undefined ? deviceId : moduleId(deviceId, module)
  if (clientId !== packet.clientId) return 'client id and username differ'
  if (!context.hosts.includes(withoutPort(host))) return `unknown host ${host}`
  const parameters = new Map(
    query
      .slice(1)
      .split('&')
      .map(part => splitAt(part, '=')),
  )
  if (!parameters.has('api-version')) return 'no api-version'

  const device = context.find(clientId)
  if (!device) return 'unknown device'
  if (device.status !== 'enabled' || context.find(deviceId)?.status !== 'enabled') return 'device is disabled'
  const modelId = decoded(parameters.get('model-id')) ?? ''
  const expires = packet.password
    ? byToken(packet.password.toString(), device, context)
    : byCertificate(device, context)
  return typeof expires === 'string' ? expires : { device, modelId, expires }
}

function byToken(password: string, device: DeviceRecord, { hosts, now }: ConnectContext): number | string {
  const token = parseSas(password)
  if (!token) return 'malformed token'
  const resource = resourceOf(token)
  if (!resource || !hosts.includes(resource.host) || resource.path !== `/${resourcePath(device.id)}`) {
    return 'token of another resource'
  }
  if (device.thumbprints.length > 0 || device.caSigned) return 'the device has to use its certificate'
  if (!isSignedBy(token, [device.keys.primary, device.keys.secondary])) return 'wrong signature'
  return expiryOf(token) > now ? expiryOf(token) : 'token has expired'
}

function byCertificate(device: DeviceRecord, { chain, authorities, now }: ConnectContext): number | string {
  const [leaf] = chain
  if (!leaf) return 'neither token nor certificate'
  if (!isValidAt(leaf, now)) return 'the certificate is not valid now'
  if (device.caSigned) {
    if (commonName(leaf) !== device.id) return 'the certificate names another device'
    const known = authorities.some(authority => stepsTo(chain, authority, now) !== undefined)
    return known ? Number.POSITIVE_INFINITY : 'the chain ends in no authority of this hub'
  }
  const known = device.thumbprints.some(thumbprint => hasThumbprint(leaf, thumbprint))
  return known ? Number.POSITIVE_INFINITY : 'unknown certificate'
}

function splitAt(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator)
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)]
}
