import { constants } from 'node:fs'
import { access, readFile } from 'node:fs/promises'

/** Whether packages can be installed on this machine. Only reads. */
export async function packagesHere(): Promise<'yes' | 'readOnlyRoot' | 'noApt'> {
  const mounts = await readFile('/proc/self/mountinfo', 'utf8').catch(() => '')
  if (isRootReadOnly(mounts)) return 'readOnlyRoot'
  return access('/usr/bin/apt-get', constants.X_OK).then(
    () => 'yes',
    () => 'noApt',
  )
}

/**
 * Whether the root file system itself is read-only, after proc_pid_mountinfo(5). The options of the mount do not say so: systemd
 * makes everything read-only for a unit with `ProtectSystem=`.
 */
export function isRootReadOnly(mountinfo: string): boolean {
  const roots = mountinfo.split('\n').filter(line => line.split(' ')[4] === '/')
  const options = roots.at(-1)?.split(' - ')[1]?.split(' ')[2] ?? ''
  return options.split(',').includes('ro')
}
