import { section, setting } from '../setting.ts'
import { path, whole } from '../values.ts'

export const bootState = section({
  fwEnvConfig: setting(path, '/etc/fw_env.config', 'the file that names the boot state file, which has 512 bytes'),
  tries: setting(whole(1, 9), 3, 'how many starts a new system gets'),
})
