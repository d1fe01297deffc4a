import { optional, section, setting } from '../setting.ts'
import { number, path, whole } from '../values.ts'

export const hub = section({
  caFile: optional(
    path,
    "`edgegatewayCertPath`, else Node's list",
    "certificate authority of the hub or gateway; replaces Node's list",
  ),
  keyPassphraseFile: optional(
    path,
    'none',
    'file with the passphrase of an encrypted key in `connectionX509PrivateKeyFilePath`, mode 0600',
  ),
  identityServiceFolder: setting(
    path,
    '/run/aziot',
    'folder with the sockets of the IoT Identity Service, `identityd.sock` and `keyd.sock`, for the connection type `AIS`',
  ),
  keepAliveSeconds: setting(whole(5, 1200), 60, 'MQTT keep-alive interval'),
  spreadSeconds: setting(
    number(0, 86_400),
    0,
    'each device waits a random part of this time before it acts on a new deployment',
  ),
})
