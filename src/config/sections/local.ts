import { optional, section, setting } from '../setting.ts'
import { flag, hosts, path } from '../values.ts'

export const local = section({
  folder: optional(
    path,
    'none',
    'a folder that the agent watches, such as the mount point of a USB stick: a [signed deployment](../sources/local/README.md#a-stick) that appears there is installed',
  ),
  allowBundles: setting(
    flag,
    false,
    'whether a [local update](../sources/local/README.md) may be a bundle without a signed deployment; only its own signature protects the device then',
  ),
  allowedHosts: setting(
    hosts,
    ['*'],
    'hosts that a local bundle may be downloaded from, in the form of `piAdu.content.allowedHosts`',
  ),
  allowDowngrade: setting(flag, false, 'whether a local deployment may be older than the installed version'),
})
