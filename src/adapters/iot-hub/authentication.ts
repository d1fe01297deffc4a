import { X509Certificate } from 'node:crypto'
import device from 'azure-iot-device'
import type { HubIdentity, SignerAuth } from '../../ports/identity.ts'
import { CERTIFICATE_REFUSED } from '../tls/words.ts'
import { explain } from './sdk-errors.ts'

/** As whom the hub knows it: `device`, or `device/module`. */
export const nameOf = ({ deviceId, moduleId }: HubIdentity): string =>
  moduleId === undefined ? deviceId : `${deviceId}/${moduleId}`

/**
 * Gives the SDK the device's name and credentials. A connection string with a certificate would lose gateway and module
 * (PROTOCOL.md, "Authentication"). The SDK counts a token's life from the clock: with one that is `behind` (seconds), the token
 * would have expired already. The margin grows by the same amount, so that the renewal timer, which never fires, stays within
 * Node's range.
 */
export function providerOf(
  { hub, gateway, deviceId, moduleId, auth }: HubIdentity,
  tokenSeconds: number,
  behind: number,
  lose: (why: string) => void,
) {
  const names = {
    ...{ host: hub, deviceId },
    ...(gateway === undefined ? {} : { gatewayHostName: gateway }),
    ...(moduleId === undefined ? {} : { moduleId }),
  }
  if (auth.kind === 'x509') {
    const { chain: cert, key } = auth
    return new device.X509AuthenticationProvider({ ...names, x509: { cert, key } })
  }
  if (auth.kind === 'signer') return new SigningProvider(names, behind + tokenSeconds, behind + 900, auth, lose)
  const { key: sharedAccessKey, keyName } = auth
  const credentials = {
    ...names,
    sharedAccessKey,
    ...(keyName === undefined ? {} : { sharedAccessKeyName: keyName }),
  }
  return new device.SharedAccessKeyAuthenticationProvider(credentials, behind + tokenSeconds, behind + 900)
}

/**
 * Has its tokens signed by a keeper of the key, as the SDK does for edge modules. The SDK encodes the resource. A renewal that
 * fails is an event of the SDK without a listener, which would end this process; `lose` hears it.
 */
class SigningProvider extends device.SharedAccessKeyAuthenticationProvider {
  readonly #sign: SignerAuth['sign']
  #stops = 0

  constructor(
    names: { host: string; deviceId: string },
    valid: number,
    margin: number,
    { sign }: SignerAuth,
    lose: (why: string) => void,
  ) {
    super(names, valid, margin)
    this.#sign = sign
    this.on('error', error => lose(explain(error)))
  }

  override stop(): void {
    this.#stops += 1
    super.stop()
  }

  override _sign(resource: string, expiry: number, callback: (error: Error, token?: string) => void): void {
    const token = (signature: string): string =>
      `SharedAccessSignature sr=${resource}&sig=${encodeURIComponent(signature)}&se=${expiry}`
    const stops = this.#stops
    this.#sign(`${resource}\n${expiry}`).then(
      signature => {
        callback(null as unknown as Error, token(signature))
        // The SDK has started its timer again, after the end of the connection.
        if (stops !== this.#stops) super.stop()
      },
      (error: Error) => callback(error),
    )
  }
}

/** Of a failed connection: whether the hub was reached and does not accept this identity (CONNACK 4 or 5, or by TLS). */
export const isRefusal = (why: string): boolean =>
  /^connection refused: (?:not authorized|bad user ?name)/i.test(why) || why.includes(CERTIFICATE_REFUSED)

/** Errors of a connection that the server closed without a reason. A server may refuse a certificate in this way. */
const SILENT_END =
  /Unable to establish a connection|before secure TLS connection|socket hang up|ECONNRESET|connection was closed/i

/** What is said of a failed connection with a certificate. */
export const withDoubt = (why: string): string =>
  SILENT_END.test(why) ? `${why} (the network, or the hub has refused this device's certificate)` : why

/** What the twin shows of the device's certificate (PROTOCOL.md, "Certificate in the twin"); null where it has none. */
export function certificateIn({ auth, renewalRefused }: Pick<HubIdentity, 'auth' | 'renewalRefused'>) {
  if (auth.kind !== 'x509') return null
  const { fingerprint256, validTo } = new X509Certificate(auth.chain)
  return {
    sha256: fingerprint256.replaceAll(':', ''),
    notAfter: new Date(validTo).toISOString(),
    renewal: renewalRefused ? 'refused' : null,
  }
}
