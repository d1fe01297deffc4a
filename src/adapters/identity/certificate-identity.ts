import { connectionFields, connectionFlaw } from '../../domain/connection-string.ts'
import { HubError, messageOf } from '../../domain/errors.ts'
import type { CertificateAuth, HubIdentity, Identity } from '../../ports/identity.ts'
import type { Log } from '../../ports/log.ts'
import { type CertificateFiles, type CertificatePair, readCertificate } from './certificate.ts'
import { EndWarning } from './certificate-end.ts'

/**
 * The last usable pair of certificate and key. Operators replace the two files one after the other, so a pair that cannot be used
 * is only logged, and the earlier pair stays in use.
 */
export class CertificateSource {
  readonly #files: CertificateFiles
  readonly #log: Log
  readonly #end: EndWarning
  #last: CertificatePair | undefined

  constructor(files: CertificateFiles, log: Log) {
    this.#files = files
    this.#log = log
    this.#end = new EndWarning(log)
  }

  /** Reads the files again. Errors: as `readCertificate`, if there has been no usable pair yet. */
  async get(): Promise<CertificatePair> {
    try {
      this.#last = await readCertificate(this.#files)
    } catch (error) {
      if (!this.#last) throw error
      this.#log.warn('identity.unusable', { why: `${messageOf(error)}; the earlier certificate stays in use` })
    }
    this.#end.see(this.#last.leaf)
    return this.#last
  }
}

/** The identity in a connection string without a key and a certificate in files. */
export class CertificateIdentity implements Identity {
  readonly #connection: string
  readonly #source: CertificateSource

  constructor(connection: string, files: CertificateFiles, log: Log) {
    this.#connection = connection
    this.#source = new CertificateSource(files, log)
  }

  async get(signal: AbortSignal): Promise<HubIdentity> {
    signal.throwIfAborted()
    const flaw = connectionFlaw(this.#connection, 'X509')
    if (flaw) throw new HubError(`no identity: the connection string ${flaw}`)
    const fields = new Map(connectionFields(this.#connection))
    const pair = await this.#source.get().catch(cause => {
      throw new HubError(`no identity: ${messageOf(cause)}`, { cause })
    })
    signal.throwIfAborted()
    return {
      hub: fields.get('HostName') ?? '',
      gateway: fields.get('GatewayHostName'),
      deviceId: fields.get('DeviceId') ?? '',
      moduleId: fields.get('ModuleId'),
      auth: authOf(pair),
    }
  }

  /** Does nothing, because there is no other identity to give. */
  async tried(): Promise<void> {}

  /** The same. */
  async ordered(): Promise<undefined> {}
}

export const authOf = ({ chain, key, passphrase }: CertificatePair): CertificateAuth => ({
  kind: 'x509',
  chain,
  key,
  passphrase,
})
