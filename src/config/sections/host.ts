import { section, setting } from '../setting.ts'
import { command, seconds } from '../values.ts'

export const host = section({
  rebootCommand: setting(command, ['systemctl', 'reboot'], 'program that reboots, and its arguments'),
  rebootPatienceSeconds: setting(seconds, 300, 'how long the agent waits for a reboot before it asks for it again'),
})
