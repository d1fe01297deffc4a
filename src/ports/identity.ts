import type { Contract } from './contract.ts'

/** Which device connects, and to which host. */
export interface HubIdentity {
  /** Host name of the hub, with `:port` unless it is the protocol's default. */
  readonly hub: string
  /** Host name of the gateway in front of the hub. If there is one, the connection goes to it. */
  readonly gateway: string | undefined
  readonly deviceId: string
  readonly moduleId: string | undefined
  readonly auth: HubAuth
  /** Present where the certificate is due for renewal and could not be renewed. */
  readonly renewalRefused?: true
}

/** The device's credentials. */
export type HubAuth = SymmetricKeyAuth | CertificateAuth | SignerAuth

/** `key`: base64, signs the tokens; secret. */
export interface SymmetricKeyAuth {
  readonly kind: 'symmetricKey'
  readonly key: string
  /** Name of the shared access policy, if the key belongs to one. */
  readonly keyName: string | undefined
}

/** A TLS client certificate; `key` and `passphrase` are secret. All PEM. */
export interface CertificateAuth {
  readonly kind: 'x509'
  /** The device's own certificate, then its issuer, and so on. */
  readonly chain: string
  readonly key: string
  /** The passphrase of an encrypted key. */
  readonly passphrase: string | undefined
}

/** A key that never leaves its keeper, which signs tokens. */
export interface SignerAuth {
  readonly kind: 'signer'
  /** HMAC-SHA256 of the text, in base64. Errors: HubError. */
  readonly sign: (text: string) => Promise<string>
}

/** `refused`: the hub was reached, and does not accept this identity. */
export type HubOutcome = 'connected' | 'refused' | 'unreachable'

/** Asked for each connection, so that the next one uses a changed key, hub or certificate. */
export interface Identity {
  /** The current identity. Errors say in words what is missing, and never quote a secret. */
  get(signal: AbortSignal): Promise<HubIdentity>
  /** What became of the connection with the identity that was given last. */
  tried(outcome: HubOutcome): Promise<void>
  /**
   * The twin orders this device to find out again where it belongs. `order` names the order, and each one counts once. Returns after
   * how many milliseconds the connection should be replaced, so that `get` can obey; undefined if there is nothing to do.
   */
  ordered(order: string): Promise<number | undefined>
}

export const identityContract: Contract<Identity> = {
  get: ['HubError'],
  tried: [],
  ordered: [],
}
