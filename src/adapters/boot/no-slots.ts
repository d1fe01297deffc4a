import { AgentError } from '../../domain/errors.ts'
import type { BootState } from '../../domain/slot.ts'
import type { BootControl } from '../../ports/boot-control.ts'

/** BootControl of a system without slots: it always runs the one that it has, and no trial can be armed. */
export class NoSlots implements BootControl {
  async read(): Promise<BootState> {
    return { booted: 'a', primary: 'a', trial: 'none', tries: 0 }
  }

  async arm(): Promise<never> {
    throw new AgentError('BOOT_STATE', 'this device has no A/B slots: there is no other system to start')
  }

  async start(): Promise<readonly string[]> {
    return []
  }

  /** What runs is committed already. */
  async commit(): Promise<void> {}

  async fallBack(): Promise<never> {
    return this.arm()
  }
}
