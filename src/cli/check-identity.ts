import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { commonName, readCertificate } from '../adapters/identity/certificate.ts'
import { readCertificateCredential, readSymmetricKey } from '../adapters/identity/device-credential.ts'
import { registrationIdOf } from '../adapters/identity/registration-id.ts'
import type { Config } from '../config/config.ts'
import { type IdentitySettings, identitySettings } from '../config/identity.ts'
import { connectionFields } from '../domain/connection-string.ts'
import { ConfigError, messageOf } from '../domain/errors.ts'

/**
 * Reads the files of the device's identity, as each connection does. Returns warnings: what looks wrong but may work. Errors: as
 * `readCertificate`.
 */
export async function checkIdentity(config: Config): Promise<readonly string[]> {
  const settings = identitySettings(config)
  switch (settings.kind) {
    case 'connectionString':
    // The service may start after the agent.
    case 'identityService':
      return []
    case 'certificate':
      return await checkCertificate(settings, config.agents[0]?.connectionSource?.connectionX509CaCertFilePath)
    case 'provisioned':
      return await checkProvisioning(settings)
  }
}

type Settings<Kind> = Extract<IdentitySettings, { readonly kind: Kind }>

async function checkCertificate(
  { connection, files }: Settings<'certificate'>,
  ca: string | undefined,
): Promise<readonly string[]> {
  const { leaf } = await readCertificate(files)
  const warnings: string[] = []
  const fields = new Map(connectionFields(connection))
  const [device, module] = [fields.get('DeviceId'), fields.get('ModuleId')]
  const expected = module === undefined ? device : `${device}/${module}`
  const name = commonName(leaf)
  // The hub knows self-signed certificates by their thumbprint, so the name does not matter.
  if (!leaf.checkIssued(leaf) && name !== expected) {
    warnings.push(
      `${files.certificate.setting}: the certificate is for ${JSON.stringify(name ?? '')}; a hub that trusts its certificate authority expects ${JSON.stringify(expected)}`,
    )
  }
  if (ca !== undefined && leaf.checkIssued(new X509Certificate(await readFile(ca)))) {
    warnings.push(
      `agents.0.connectionSource.connectionX509CaCertFilePath: is the issuer of this device's certificate; it is used to trust the hub, and never sent to it`,
    )
  }
  return warnings
}

async function checkProvisioning({ section, key, files }: Settings<'provisioned'>): Promise<readonly string[]> {
  const { registrationId } = section
  const warnings: string[] = []
  const id = async (): Promise<string> => {
    try {
      return await registrationIdOf(registrationId ?? '')
    } catch (error) {
      if (error instanceof ConfigError) throw error
      // A network interface may come later; its place in the id is checked then.
      warnings.push(messageOf(error))
      return ''
    }
  }
  if (key) await readSymmetricKey(key, id)
  if (!files) return warnings
  const pair = await readCertificate(files)
  const known = registrationId === undefined ? undefined : await id()
  if (known === '') return warnings
  const source = { get: async () => pair }
  await readCertificateCredential(
    source,
    files.certificate.setting,
    known === undefined ? undefined : async () => known,
  )
  return warnings
}
