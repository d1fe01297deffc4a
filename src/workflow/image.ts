import type { Attempt, Cause } from '../domain/attempt.ts'
import type { FirmwareUpdate } from '../domain/deployment.ts'
import type { GateName } from '../domain/gate.ts'
import { other } from '../domain/slot.ts'
import type { SystemUpdate } from '../domain/system-update.ts'
import { compareVersions } from '../domain/versions.ts'
import { closedOf, type Gates } from '../gates/gates.ts'
import type { Action, Observed } from './action.ts'
import { tooLow } from './downgrade.ts'
import { cause, failedWith } from './results.ts'

/** Installs that one attempt may begin: only a crash or a power cut causes more than one. */
export const MAX_INSTALLS = 20
/** Reboots that one step may request: one into the trial, one out of it, and some that did not happen. */
export const MAX_REBOOTS = 6
/** Pauses of one installation by gates: a download that starts over after each would go on for ever. */
export const MAX_PAUSES = 100

/** Why the update must not be installed; undefined when it may. Only a signed update says its version beforehand. */
export function tooOld(update: SystemUpdate | FirmwareUpdate, { lowest }: Pick<Observed, 'lowest'>): Cause | undefined {
  if (lowest === undefined || !update.updateId) return undefined
  const { version } = update.updateId
  if (compareVersions(version, lowest) >= 0) return undefined
  return cause('DOWNGRADE', tooLow(version, lowest))
}

/** Install into the other slot: the same for every origin. Pure. */
export function fillSlot(update: SystemUpdate | FirmwareUpdate, attempt: Attempt, seen: Observed): Action {
  const { boot, lowest, gates } = seen
  const { installs, pauses = 0 } = attempt
  if (installs >= MAX_INSTALLS) {
    return failed(`the installation was begun ${installs} times and never came to its end`)
  }
  if (pauses >= MAX_PAUSES) return failed(`the installation was paused ${pauses} times and never finished`)
  const { url } = update
  if (url === undefined) {
    return { do: 'finish', result: failedWith(cause('URL_BAD', 'fileUrls has no URL for the bundle'), 'download') }
  }
  const into = other(boot.booted)
  // An image is written while it is downloaded, so both gates must be open.
  return (
    waitFor(gates, ['download', 'install']) ?? {
      do: 'install',
      update: { ...update, url },
      into,
      ...(lowest ? { lowest } : {}),
    }
  )
}

/** Activate the slot that was filled, and reboot. Pure. */
export function trySlot({ installedTo, reboots }: Attempt, { boot, gates }: Observed): Action {
  if (!installedTo) throw new Error('a slot that was filled has a name')
  if (reboots >= MAX_REBOOTS) {
    const why = `slot ${installedTo} was not started after ${reboots} reboot orders`
    return { do: 'finish', result: failedWith(cause('TOO_MANY_REBOOTS', why), 'apply') }
  }
  // Check before the slot becomes the next to start: any reboot after that would be a trial.
  const closed = waitFor(gates, ['reboot'])
  if (closed) return closed
  return boot.trial === 'pending' ? { do: 'reboot', why: 'trial' } : { do: 'activate', slot: installedTo }
}

export function waitFor(gates: Gates, names: readonly GateName[]): Action | undefined {
  const closed = closedOf(gates, names)
  return closed && { do: 'waitForGate', ...closed }
}

const failed = (why: string): Action => ({
  do: 'finish',
  result: failedWith(cause('TOO_MANY_INSTALLS', why), 'download'),
})
