import type { X509Certificate } from 'node:crypto'
import { AssignmentFile } from '../adapters/dps/assignment-file.ts'
import { readCertificate } from '../adapters/identity/certificate.ts'
import { readCertificateCredential, readSymmetricKey } from '../adapters/identity/device-credential.ts'
import { IssuedFile, leafOf } from '../adapters/identity/issued.ts'
import { registrationIdOf } from '../adapters/identity/registration-id.ts'
import { type Config, identityFolder, readConfig } from '../config/config.ts'
import { type IdentitySettings, identitySettings } from '../config/identity.ts'
import { DEFAULT_PROVISIONING_HOST } from '../config/sections/provisioning.ts'
import { connectionFields } from '../domain/connection-string.ts'
import { messageOf, UsageError } from '../domain/errors.ts'
import { jsonText, onOneLine } from '../domain/terminal.ts'
import { SILENT } from '../ports/log.ts'

export interface IdentityOptions {
  readonly config: string
  readonly json: boolean
  /** Order the agent to register again. */
  readonly register: boolean
}

/** What a device is known by, without any key. What is not known is absent. */
type Facts = Readonly<Record<string, string | undefined>>

/** `pi-adu identity`: ids and thumbprints, never keys. Errors: ConfigError, UsageError. */
export async function showIdentity({ config: file, json, register }: IdentityOptions): Promise<void> {
  const config = await readConfig(file)
  const settings = identitySettings(config)
  if (register) return await orderRegistration(config, settings)
  const facts = await factsOf(config, settings)
  process.stdout.write(json ? `${jsonText(facts, 2)}\n` : textOf(facts))
}

async function orderRegistration(config: Config, { kind }: IdentitySettings): Promise<void> {
  if (kind !== 'provisioned') throw new UsageError('there is no piAdu.provisioning, so there is nothing to register')
  await new AssignmentFile(identityFolder(config), SILENT).order()
  process.stdout.write(
    'The agent registers again before its next connection. To connect now: systemctl restart pi-adu-agent\n',
  )
}

async function factsOf(config: Config, settings: IdentitySettings): Promise<Facts> {
  if (settings.kind === 'provisioned') return await provisioned(config, settings)
  if (settings.kind === 'identityService') {
    return { source: 'IoT Identity Service', ...(await known(() => fromIdentityService(settings.folder))) }
  }
  const fields = new Map(connectionFields(settings.connection))
  return {
    source: settings.kind === 'certificate' ? 'connection string and certificate' : 'connection string',
    hub: fields.get('HostName'),
    gateway: fields.get('GatewayHostName'),
    device: fields.get('DeviceId'),
    module: fields.get('ModuleId'),
    ...(settings.kind === 'certificate'
      ? await known(async () => ofCertificate((await readCertificate(settings.files)).leaf))
      : { credential: 'symmetric key' }),
  }
}

async function fromIdentityService(folder: string): Promise<Facts> {
  const { ServiceIdentity } = await import('../adapters/identity/identity-service.ts')
  const { hub, gateway, deviceId, moduleId } = await new ServiceIdentity(folder).get(new AbortController().signal)
  return { hub, gateway, device: deviceId, module: moduleId, credential: 'symmetric key, kept by the service' }
}

async function provisioned(
  config: Config,
  { section, key, files }: Extract<IdentitySettings, { readonly kind: 'provisioned' }>,
): Promise<Facts> {
  const { registrationId: pattern, idScope, host = DEFAULT_PROVISIONING_HOST } = section
  const id = pattern === undefined ? undefined : () => registrationIdOf(pattern)
  const assignment = await new AssignmentFile(identityFolder(config), SILENT).read()
  return {
    source: 'provisioning service',
    service: host,
    idScope,
    ...(await known(async () => {
      if (key && id) return { ...idOf(await readSymmetricKey(key, id)), credential: 'symmetric key' }
      if (!files) return {}
      const pair = await readCertificate(files)
      const credential = await readCertificateCredential({ get: async () => pair }, files.certificate.setting, id)
      return { ...idOf(credential), ...ofCertificate(pair.leaf) }
    })),
    ...(section.issueCertificate ? await known(() => issuedFacts(config)) : {}),
    hub: assignment?.hub ?? 'not assigned yet',
    device: assignment?.deviceId,
    assigned: assignment && `${assignment.at}${assignment.substatus ? `, ${assignment.substatus}` : ''}`,
  }
}

/** In place of the credential for the service: what the hub is shown. */
async function issuedFacts(config: Config): Promise<Facts> {
  const { current, next } = (await new IssuedFile(identityFolder(config), SILENT).read()) ?? {}
  const pair = next ?? current
  if (!pair) return { credential: 'none issued yet' }
  return { ...ofCertificate(leafOf(pair)), credential: next ? 'issued, not accepted by the hub yet' : 'issued' }
}

const idOf = ({ registrationId }: { readonly registrationId: string }): Facts => ({ registrationId })

function ofCertificate(leaf: X509Certificate): Facts {
  return {
    credential: 'certificate',
    subject: leaf.subject,
    issuer: leaf.issuer,
    serial: leaf.serialNumber,
    sha1: leaf.fingerprint.replaceAll(':', ''),
    sha256: leaf.fingerprint256.replaceAll(':', ''),
    notBefore: new Date(leaf.validFrom).toISOString(),
    notAfter: new Date(leaf.validTo).toISOString(),
  }
}

/** What cannot be read is said, and keeps nothing else from being shown. */
async function known(read: () => Promise<Facts>): Promise<Facts> {
  try {
    return await read()
  } catch (error) {
    return { problem: messageOf(error) }
  }
}

const NAMES: Readonly<Record<string, string>> = {
  idScope: 'id scope',
  registrationId: 'registration',
  sha1: 'SHA-1',
  sha256: 'SHA-256',
  notBefore: 'valid from',
  notAfter: 'valid until',
}

function textOf(facts: Facts): string {
  const lines = Object.entries(facts).flatMap(([name, value]) =>
    value === undefined ? [] : [`${(NAMES[name] ?? name).padEnd(13)} ${onOneLine(value)}\n`],
  )
  return lines.join('')
}
