import * as v from 'valibot'
import { isHost } from '../../domain/hub-names.ts'
import { patternFlaw } from '../../domain/registration-id.ts'
import { optional, required, section } from '../setting.ts'
import { path, text } from '../values.ts'

export const DEFAULT_PROVISIONING_HOST = 'global.azure-devices-provisioning.net'

/** With this section the provisioning service (DPS) says which hub the device belongs to, and under which id. */
export const provisioning = v.pipe(
  section({
    idScope: required(
      v.pipe(text, v.regex(/^[A-Za-z0-9]{1,64}$/, 'must be an id scope, like 0ne00A1B2C3')),
      'with this section the Device Provisioning Service assigns the hub, and `connectionSource` is not needed; id scope of the service',
    ),
    registrationId: optional(
      v.pipe(
        text,
        v.rawCheck(({ dataset, addIssue }) => {
          const flaw = dataset.typed ? patternFlaw(dataset.value) : undefined
          if (flaw) addIssue({ message: flaw })
        }),
      ),
      'the common name of the certificate',
      'registration id; may hold `{serial}` (of the board), `{mac:eth0}` and `{file:/path}`, like `pi-{serial}`; used in lower case',
    ),
    host: optional(
      v.pipe(text, v.check(isHost, 'must be a host name, with a port or not')),
      `\`${DEFAULT_PROVISIONING_HOST}\``,
      'host of the service',
    ),
    symmetricKeyFile: optional(
      path,
      'none',
      'file with the device’s key in base64, mode 0600: of an individual enrollment, or derived from the key of a group; never the key of a group itself',
    ),
    certFile: optional(
      path,
      'none',
      'instead of a key: PEM file with the device’s certificate and all above it up to one that the enrollment names',
    ),
    keyFile: optional(path, 'none', 'PEM file with the private key of `certFile`, mode 0600'),
    passphraseFile: optional(path, 'none', 'file with the passphrase of an encrypted `keyFile`, mode 0600'),
    caFile: optional(path, "Node's list", 'certificate authority of the service, where it is not a public one'),
    issueCertificate: optional(
      v.boolean('must be true or false'),
      'false',
      'whether the service issues the certificate for the hub, for a key that the agent makes, and renews it; the enrollment must name a credential policy',
    ),
    payload: optional(
      v.record(v.string(), v.unknown(), 'must be a JSON object'),
      'none',
      'JSON object for a custom allocation at the service; not secret',
    ),
  }),
  v.rawCheck(({ dataset, addIssue }) => {
    if (!dataset.typed) return
    const input = dataset.value
    const complain = (key: keyof typeof input & string, message: string): void => {
      addIssue({ message, path: [{ type: 'object', origin: 'value', input, key, value: input[key] }] })
    }
    const { symmetricKeyFile, certFile, keyFile, passphraseFile, registrationId } = input
    if (symmetricKeyFile === undefined && certFile === undefined)
      complain('symmetricKeyFile', 'is missing: the device needs this, or certFile and keyFile')
    if (symmetricKeyFile !== undefined && (certFile ?? keyFile) !== undefined)
      complain('symmetricKeyFile', 'has no effect beside certFile and keyFile: must be one or the other')
    if (certFile !== undefined && keyFile === undefined) complain('keyFile', 'is missing: certFile needs it')
    if (keyFile !== undefined && certFile === undefined) complain('certFile', 'is missing: keyFile needs it')
    if (passphraseFile !== undefined && keyFile === undefined)
      complain('passphraseFile', 'has no effect without keyFile')
    if (symmetricKeyFile !== undefined && registrationId === undefined)
      complain('registrationId', 'is missing: a device with a symmetric key has no certificate that names it')
  }),
)
