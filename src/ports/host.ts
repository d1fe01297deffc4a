import type { Contract } from './contract.ts'

/** The machine that the agent runs on. */
export interface Host {
  /** First line of the version file of the booted system; empty when it cannot be read, which is logged. */
  version(): Promise<string>
  /** Names this boot of the machine: another boot has another id. */
  bootId(): Promise<string>
  /** Orders a reboot and returns; the system then stops this process. `args`: those of `BootControl.start`, or none. */
  reboot(args: readonly string[], signal: AbortSignal): Promise<void>
  /** Failed units of the booted system; empty if they do not count. */
  failedUnits(signal: AbortSignal): Promise<readonly string[]>
  /**
   * Why the booted system is not healthy, one line per finding; empty if it is healthy. Units that had failed before the update
   * (`known`) do not count, nor does the connection to the hub. Takes at most about `within` milliseconds; a check that is not
   * finished by then is a finding.
   */
  findings(signal: AbortSignal, known: readonly string[], within: number): Promise<readonly string[]>
  /** Flat properties of the `deviceInformation` component (PROTOCOL.md, "Startup report"). */
  information(): Promise<Readonly<Record<string, string | number>>>
}

export const hostContract: Contract<Host> = {
  version: [],
  bootId: [],
  reboot: ['INTERNAL'],
  failedUnits: ['HEALTH'],
  findings: ['HEALTH'],
  information: [],
}
