import { section, setting } from '../setting.ts'
import { flag, path, seconds, trialSeconds } from '../values.ts'

/** It need not exist: many systems have no checks of their own. */
export const DEFAULT_CHECKS_FOLDER = '/etc/pi-adu/health.d'

export const health = section({
  timeoutSeconds: setting(
    trialSeconds,
    600,
    'time limit of the trial boot, counted from the start of the agent; at most 1000',
  ),
  retrySeconds: setting(seconds, 10, 'pause between two health checks of a trial boot'),
  failedUnits: setting(
    flag,
    true,
    'whether a failed systemd unit fails the trial; a unit that had failed before the reboot does not count',
  ),
  checksFolder: setting(
    path,
    DEFAULT_CHECKS_FOLDER,
    "the owner's checks: each executable regular file runs as the user `adu` and must exit with 0; hidden and backup files are ignored and logged; in the image this folder is part of the system",
  ),
  checkTimeoutSeconds: setting(
    seconds,
    60,
    'time limit of one check; processes that it leaves running are ended with it',
  ),
})
