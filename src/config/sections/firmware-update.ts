import * as v from 'valibot'
import { section, setting } from '../setting.ts'
import { flag, hosts, number, seconds, whole } from '../values.ts'

export const firmwareUpdate = v.pipe(
  section({
    enabled: setting(flag, false, 'whether the direct method `firmwareUpdate` is accepted'),
    allowedHosts: setting(
      hosts,
      [],
      'hosts that bundles may be downloaded from, in the form of `piAdu.content.allowedHosts`',
    ),
    requireSha256: setting(flag, true, 'whether a call without a hash is refused'),
    progressPercent: setting(whole(1, 100), 10, 'progress is reported every N percent'),
    progressSeconds: setting(seconds, 30, 'progress is also reported every N seconds'),
    stageSeconds: setting(number(0, 60), 1, 'shortest time for which a stage is shown, because callers poll'),
  }),
  v.check(
    ({ enabled, allowedHosts }) => !enabled || allowedHosts.length > 0,
    'is enabled, but allowedHosts is empty, so that every call would be refused',
  ),
)
