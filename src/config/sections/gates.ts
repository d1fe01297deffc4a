import * as v from 'valibot'
import { GATE_NAMES } from '../../domain/gate.ts'
import { WINDOW_FORM, windowOf } from '../../gates/window.ts'
import { optional, section, setting } from '../setting.ts'
import { flag, number, path, text, whole } from '../values.ts'

export const windows = v.array(
  v.pipe(
    text,
    v.check(each => windowOf(each) !== undefined, WINDOW_FORM),
  ),
  'must be a list',
)

const timeZone = v.pipe(text, v.check(isZone, 'must be a time zone such as "Europe/Berlin" or "UTC"'))

/** Of an interface in the kernel, which may stand for several. */
const interfaces = v.array(
  v.pipe(text, v.regex(/^[^/\s*]{1,15}\*?$/, 'must be the name of a network interface, such as "wwan0" or "ppp*"')),
  'must be a list',
)

const units = v.array(
  v.pipe(text, v.regex(/^[\w:.@\\-]{1,255}\.[a-z]+$/, 'must be the name of a unit, such as "till.service"')),
  'must be a list',
)

const metered = section({
  interfaces: setting(
    interfaces,
    [],
    'downloads wait while the default route leads there, such as `["wwan0", "ppp*"]`',
  ),
  file: optional(path, 'none', 'downloads wait while it exists'),
})

const busy = section({
  units: setting(units, [], 'updates wait while one of these systemd units is active, such as `["backup.service"]`'),
  file: optional(path, 'none', 'updates wait while it exists'),
})

export const gates = section({
  download: setting(windows, [], 'times in which updates are downloaded, such as `["Mon-Fri 22:00-06:00"]`', 'always'),
  install: setting(windows, [], 'times in which updates are written into the other slot', 'always'),
  reboot: setting(windows, [], 'times in which the device reboots into an update', 'always'),
  timeZone: optional(timeZone, "the system's", 'time zone of these times'),
  openWithoutTime: setting(flag, false, 'whether a window counts as open while the clock is not synchronised'),
  timeSyncFile: setting(
    path,
    '/run/systemd/timesync/synchronized',
    'exists once the clock is synchronised, as with systemd-timesyncd',
  ),
  locks: setting(
    path,
    '/run/pi-adu/locks',
    'folder in which an application keeps a file while an update must not go on: [locks](../gates/README.md#locks)',
  ),
  consentFor: optional(
    v.picklist(GATE_NAMES, `must be one of ${GATE_NAMES.join(', ')}`),
    'nobody is asked',
    'what waits until `consentFile` exists',
  ),
  consentFile: setting(
    path,
    '/run/pi-adu/consent',
    'its presence is consent to the update that waits; the agent removes it when the update has ended',
  ),
  metered: v.exactOptional(metered, {}),
  busy: v.exactOptional(busy, {}),
  batteryBelow: optional(
    whole(1, 100),
    'batteries do not count',
    'nothing is installed, and no reboot made, while a battery has fewer per cent and is being discharged',
  ),
  underVoltageSinceBoot: setting(
    flag,
    false,
    'whether too low a voltage also counts when it has passed, until the next reboot (without the Pi’s kernel: until the agent restarts)',
  ),
  deadlineHours: optional(
    number(0.01, 8760),
    'as long as it takes',
    'hours after which a deployment waits only for power',
  ),
})

function isZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone !== ''
  } catch {
    return false
  }
}
