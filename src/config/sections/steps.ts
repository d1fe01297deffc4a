import { section, setting } from '../setting.ts'
import { path } from '../values.ts'

export const steps = section({
  socket: setting(
    path,
    '/run/pi-adu-steps/socket',
    'Unix socket of the service that carries out steps other than images, as root',
  ),
  settings: setting(
    path,
    '/etc/pi-adu/steps.json',
    '[settings of that service](../steps/README.md#settings), which only root may write; the agent reads there what steps may do, and the components',
  ),
})
