import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { repositoryRoot } from '../../../image/builder/repository.ts'
import type { DeviceFolder } from './device-folder.ts'

export interface Boot {
  readonly boot: number
  readonly isTrial: boolean
  /** The slot has a system that can be started. */
  readonly isLoaded: boolean
  /** Why the device started at all. */
  readonly cause: string
}

const SCRIPT = `. "$0"
read -r up rest </proc/uptime
flight_end "$1" "$2" "$3"
[ "$4" = trial ] || exit 0
flight_boot "$1" "$5" "$6" "$up"
flight_reached "$1" initramfs
[ "$7" = loaded ] && flight_reached "$1" root || flight_end "$1" initramfs "no /sbin/init"
`

/** What the initramfs of the image does, with its own functions. The kernel of a workbench starts now. */
export async function recordFlight(folder: DeviceFolder, { boot, isTrial, isLoaded, cause }: Boot): Promise<void> {
  const [how, said] =
    cause === 'panic' ? ['panic', 'Attempted to kill init!'] : cause === 'watchdog' ? ['watchdog', ''] : ['unknown', '']
  const script = join(repositoryRoot(), 'image/initramfs/flight')
  const which = [isTrial ? 'trial' : '', join(folder.data, 'flight.key'), `boot-${boot}`, isLoaded ? 'loaded' : '']
  spawnSync('sh', ['-c', SCRIPT, script, folder.flight, how!, said!, ...which], { stdio: 'ignore' })
}
