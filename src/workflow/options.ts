import type { GateSettings } from '../gates/gates.ts'
import type { TwinOptions } from '../sources/device-update/twin-side.ts'
import type { MethodPolicy } from '../sources/firmware-update/method-side.ts'
import type { OnceOrigins } from '../sources/once-source.ts'
import type { PulseLimits } from '../timing/pulse.ts'
import type { DowngradePolicy } from './downgrade.ts'
import type { PerformOptions } from './perform/context.ts'

export interface AgentOptions extends PerformOptions {
  readonly twin: TwinOptions
  readonly methods: MethodPolicy
  /** Origins other than the twin, which ask once; their reporters are in `reporters`. */
  readonly once?: OnceOrigins
  readonly downgrade: DowngradePolicy
  /** The gates that an update must pass on this device. */
  readonly gates: GateSettings
  /** See `stuck`. */
  readonly pulse: PulseLimits
}
