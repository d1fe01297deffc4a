import { section, setting } from '../setting.ts'
import { flag, hosts, whole } from '../values.ts'

export const diagnostics = section({
  enabled: setting(
    flag,
    true,
    'whether the service may collect the logs of this device: it uploads a [support bundle](../cli/README.md), without secrets',
  ),
  allowedHosts: setting(
    hosts,
    [
      '*.blob.core.windows.net',
      '*.blob.storage.azure.net',
      '*.blob.core.usgovcloudapi.net',
      '*.blob.core.chinacloudapi.cn',
    ],
    'hosts that logs may be uploaded to, in the forms of `content.allowedHosts`',
  ),
  maxMegabytes: setting(
    whole(1, 100),
    16,
    'size of what is collected, in MiB before compression; the rest is left out',
  ),
})
