import * as v from 'valibot'
import { type ConnectionType, connectionFlaw } from '../../domain/connection-string.ts'
import { optional, required, setting } from '../setting.ts'
import { number, path, text } from '../values.ts'

/** The settings of the reference agent's file (PROTOCOL.md, "du-config.json") that this agent takes. `review` handles all others. */

const DEFAULT_DOWNLOAD_MINUTES = 480

const TYPES: readonly (ConnectionType | 'AIS')[] = ['string', 'X509', 'AIS']

/** The reference agent has `X509` in its code and `x509` in its documentation. */
const connectionType = v.pipe(
  text,
  v.transform(name => TYPES.find(type => type.toLowerCase() === name.toLowerCase()) ?? name),
  v.picklist(TYPES, 'must be "string", "X509" or "AIS"'),
)

const connection = v.pipe(
  v.looseObject({
    connectionType: required(
      connectionType,
      '`string`: with a key; `X509`: with a certificate; `AIS`: a module identity of the IoT Identity Service; in any case',
    ),
    connectionData: required(
      text,
      'connection string of the device: `HostName=…;DeviceId=…;SharedAccessKey=…`, or `HostName=…;DeviceId=…;x509=true`; also with `ModuleId` or `GatewayHostName`; with `AIS` any text',
    ),
    connectionX509CertFilePath: optional(
      path,
      'none',
      'PEM file with the certificate of the device and the intermediate certificates above it; read for each connection',
    ),
    connectionX509PrivateKeyFilePath: optional(
      path,
      'none',
      'PEM file with the private key of the certificate, mode 0600; read for each connection',
    ),
    connectionX509CaCertFilePath: optional(
      path,
      'none',
      'an additional certificate authority that the hub or gateway is trusted with; not the issuer of the device’s own certificate',
    ),
  }),
  v.rawCheck(({ dataset, addIssue }) => {
    if (!dataset.typed) return
    const input = dataset.value
    const complain = (key: keyof typeof input & string, message: string): void => {
      addIssue({ message, path: [{ type: 'object', origin: 'value', input, key, value: input[key] }] })
    }
    // The reference agent passes on nothing of it either.
    if (input.connectionType === 'AIS') return
    const flaw = connectionFlaw(input.connectionData, input.connectionType)
    if (flaw) complain('connectionData', flaw)
    if (input.connectionType !== 'X509') return
    for (const name of ['connectionX509CertFilePath', 'connectionX509PrivateKeyFilePath'] as const) {
      if (input[name] === undefined) complain(name, 'is missing: the connection type X509 needs it')
    }
  }),
)

const agent = v.looseObject({
  name: required(text, 'name of the agent; any text'),
  manufacturer: required(text, 'property of the device that updates are matched against'),
  model: required(text, 'property of the device that updates are matched against'),
  // Without it `piAdu.provisioning` must be there.
  connectionSource: v.exactOptional(connection),
  additionalDeviceProperties: setting(
    v.record(v.string(), v.string('must be a text')),
    {},
    'further properties of the device that updates are matched against; each value is a text',
    'none',
  ),
})

export const reference = {
  schemaVersion: required(text, 'version of the format of the file, as in the reference agent'),
  manufacturer: required(text, 'reported to the service as information about the device'),
  model: required(text, 'reported to the service as information about the device'),
  iotHubProtocol: setting(
    v.picklist(['mqtt', 'mqtt/ws'], 'must be "mqtt" or "mqtt/ws"'),
    'mqtt',
    '`mqtt`: port 8883; `mqtt/ws`: MQTT over WebSockets on port 443, for networks that allow nothing else',
  ),
  compatPropertyNames: setting(
    text,
    'manufacturer,model',
    'names of the properties that the service matches updates against, separated by commas',
  ),
  downloadTimeoutInMinutes: setting(
    // 0 stands for the default (PROTOCOL.md, "Downloads").
    v.pipe(
      number(0, 1_000_000),
      v.transform(minutes => minutes || DEFAULT_DOWNLOAD_MINUTES),
    ),
    DEFAULT_DOWNLOAD_MINUTES,
    'time limit of the download of one file, with all its interruptions; 0 is the default',
  ),
  dataFolder: setting(
    path,
    '/var/lib/adu',
    'journal, `leftover`, root keys, `slots.json` (what each slot holds, for people), `work.json` (the deployment in progress), `local-tried.json`, `lock`, last known time; must be on a partition that updates do not replace',
  ),
  downloadsFolder: optional(
    path,
    '`downloads` in `dataFolder`',
    'has a folder `pi-adu` with the files of steps other than images, until they have run; must be on a partition that updates do not replace',
  ),
  edgegatewayCertPath: optional(
    path,
    'none',
    'certificate authority of the gateway, unless `piAdu.hub.caFile` names one',
  ),
  agents: v.pipe(v.array(agent, 'must be a list of agents'), v.minLength(1, 'must have at least one entry')),
}

/** Names of the settings at each level of the file. */
export const REFERENCE_NAMES = {
  top: Object.keys(reference),
  agent: Object.keys(agent.entries),
  connectionSource: Object.keys(connection.entries),
}
