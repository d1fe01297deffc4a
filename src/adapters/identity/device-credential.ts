import { createHash } from 'node:crypto'
import { ConfigError, HubError, messageOf } from '../../domain/errors.ts'
import { registrationIdFlaw } from '../../domain/registration-id.ts'
import type { Log } from '../../ports/log.ts'
import { type CertificateFiles, commonName } from './certificate.ts'
import { authOf, CertificateSource } from './certificate-identity.ts'
import { type NamedFile, ownersText } from './owners-text.ts'
import type { Credential } from './provisioned.ts'
import { registrationIdOf } from './registration-id.ts'

/** Source of the registration id, if not a certificate. Errors: ConfigError, or another Error for what may pass. */
export type IdSource = () => Promise<string>

/** The key of an individual enrollment, or one derived from a group's key. Never that key itself: it fits any device. */
export async function readSymmetricKey(file: NamedFile, id: IdSource): Promise<Credential> {
  const key = (await ownersText(file, true)).trim()
  const bytes = Buffer.from(key, 'base64')
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(key) || bytes.length < 16 || bytes.length > 64) {
    throw new ConfigError(`${file.setting}: ${file.path} must hold one key in base64, of 16 to 64 bytes`)
  }
  const fingerprint = createHash('sha256').update(bytes).digest('hex')
  return { registrationId: await id(), auth: { kind: 'symmetricKey', key, keyName: undefined }, fingerprint }
}

/** A certificate whose common name is the registration id (PROTOCOL.md, "Registration id"). */
export async function readCertificateCredential(
  source: Pick<CertificateSource, 'get'>,
  setting: string,
  id: IdSource | undefined,
): Promise<Credential> {
  const pair = await source.get()
  const name = commonName(pair.leaf)?.toLowerCase()
  const registrationId = id ? await id() : name
  if (registrationId === undefined || registrationIdFlaw(registrationId)) {
    throw new ConfigError(`${setting}: the certificate's common name cannot be a registration id`)
  }
  if (registrationId !== name) {
    throw new ConfigError(
      `${setting}: the certificate is for ${JSON.stringify(name ?? '')}, but the registration id is ${JSON.stringify(registrationId)}: they must be the same`,
    )
  }
  return { registrationId, auth: authOf(pair), fingerprint: pair.leaf.fingerprint256 }
}

export interface CredentialSettings {
  /** Either `key` or `files` is set. */
  readonly key: NamedFile | undefined
  readonly files: CertificateFiles | undefined
  /** A pattern. With a certificate it may be undefined, and the common name is then used. */
  readonly registrationId: string | undefined
}

/**
 * For `ProvisionedIdentity`: reads the credential for each connection. If it has become unusable since the last one, that is
 * logged and the earlier credential stays in use. Errors: HubError with a message for people.
 */
export function deviceCredential({ key, files, registrationId }: CredentialSettings, log: Log) {
  const id = registrationId === undefined ? undefined : () => registrationIdOf(registrationId)
  const source = files && new CertificateSource(files, log)
  const read = async (): Promise<Credential> => {
    if (source && files) return await readCertificateCredential(source, files.certificate.setting, id)
    if (key && id) return await readSymmetricKey(key, id)
    throw new ConfigError('piAdu.provisioning: has neither key nor certificate')
  }
  let last: Credential | undefined
  return async (signal: AbortSignal): Promise<Credential> => {
    try {
      last = await read()
      return last
    } catch (cause) {
      signal.throwIfAborted()
      if (last) {
        log.warn('identity.unusable', { why: `${messageOf(cause)}; the earlier credential stays in use` })
        return last
      }
      throw new HubError(`no identity: ${messageOf(cause)}`, { cause })
    }
  }
}
