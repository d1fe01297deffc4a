import { section, setting } from '../setting.ts'
import { flag } from '../values.ts'

export const reboot = section({
  enabled: setting(flag, false, 'whether the direct method `reboot` is accepted'),
})
