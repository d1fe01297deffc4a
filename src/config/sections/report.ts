import { section, setting } from '../setting.ts'
import { flag } from '../values.ts'

export const report = section({
  progress: setting(
    flag,
    false,
    'whether [our own property](../hub/PROTOCOL.md#our-own-property) in the twin has the progress in percent, once a minute: each report counts for the quota of the hub',
  ),
})
