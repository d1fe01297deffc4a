import type { Config } from './config.ts'

/** A file that belongs to the owner, with the setting that names it. */
interface NamedFile {
  readonly setting: string
  readonly path: string
}

const SOURCE = 'agents.0.connectionSource'
const DPS = 'piAdu.provisioning'

/** How the device gets its identity, as the configuration has it. With `piAdu.provisioning` that section alone counts. */
export type IdentitySettings =
  | { readonly kind: 'connectionString'; readonly connection: string }
  | { readonly kind: 'identityService'; readonly folder: string }
  | { readonly kind: 'certificate'; readonly connection: string; readonly files: Certificate }
  | {
      readonly kind: 'provisioned'
      readonly section: NonNullable<Config['piAdu']['provisioning']>
      readonly key: NamedFile | undefined
      readonly files: Certificate | undefined
    }

interface Certificate {
  readonly certificate: NamedFile
  readonly key: NamedFile
  readonly passphrase: NamedFile | undefined
  readonly passphraseSetting: string
}

export function identitySettings({ agents, piAdu }: Config): IdentitySettings {
  const { provisioning: section, hub } = piAdu
  if (section) {
    const { certFile, keyFile, passphraseFile, symmetricKeyFile } = section
    const files = certificate(certFile, keyFile, passphraseFile, {
      ...{ certificate: `${DPS}.certFile`, key: `${DPS}.keyFile`, passphrase: `${DPS}.passphraseFile` },
    })
    return { kind: 'provisioned', section, files, key: named(`${DPS}.symmetricKeyFile`, symmetricKeyFile) }
  }
  const source = agents[0]?.connectionSource
  if (!source) throw new Error('a checked configuration has a connection source or the section provisioning')
  const { connectionType, connectionData: connection } = source
  if (connectionType === 'AIS') return { kind: 'identityService', folder: hub.identityServiceFolder }
  const { connectionX509CertFilePath: cert, connectionX509PrivateKeyFilePath: key } = source
  const files = certificate(cert, key, hub.keyPassphraseFile, {
    certificate: `${SOURCE}.connectionX509CertFilePath`,
    key: `${SOURCE}.connectionX509PrivateKeyFilePath`,
    passphrase: 'piAdu.hub.keyPassphraseFile',
  })
  return connectionType === 'X509' && files
    ? { kind: 'certificate', connection, files }
    : { kind: 'connectionString', connection }
}

function certificate(
  path: string | undefined,
  key: string | undefined,
  passphrase: string | undefined,
  settings: { readonly certificate: string; readonly key: string; readonly passphrase: string },
): Certificate | undefined {
  const [certificateFile, keyFile] = [named(settings.certificate, path), named(settings.key, key)]
  if (!certificateFile || !keyFile) return undefined
  return {
    certificate: certificateFile,
    key: keyFile,
    passphrase: named(settings.passphrase, passphrase),
    passphraseSetting: settings.passphrase,
  }
}

const named = (setting: string, path: string | undefined): NamedFile | undefined =>
  path === undefined ? undefined : { setting, path }
