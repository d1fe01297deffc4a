/** The gates: before the download of an update, its installation into the other slot, and the reboot into it. */
export const GATE_NAMES = ['download', 'install', 'reboot'] as const
export type GateName = (typeof GATE_NAMES)[number]

/** An application that must not be interrupted. */
export interface Lock {
  readonly name: string
  readonly gates: readonly GateName[]
  /** Milliseconds since 1970; undefined: until it is removed. */
  readonly until: number | undefined
  /** The reason that its owner gives, or what is wrong with the lock. */
  readonly why: string | undefined
}

/** Facts about this device that an update may have to wait for. */
export interface LocalFacts {
  readonly locks: readonly Lock[]
  /** The user has consented to the update; undefined when consent is not required. */
  readonly consent: boolean | undefined
  /** The supply voltage is too low now; undefined when it is not measured. */
  readonly underVoltage: boolean | undefined
  /** The supply voltage was too low at some time since the start; false when that does not count. */
  readonly wasUnderVoltage: boolean
  /** Per cent left in a battery that is being discharged; undefined without one, or when that does not count. */
  readonly battery: number | undefined
  /** Why the way to the network is metered; undefined when it is not. */
  readonly metered: string | undefined
  /** What keeps the device busy; undefined when nothing does. */
  readonly busy: string | undefined
  /** The clock is synchronised. */
  readonly timeTrusted: boolean
  /** A lower bound on the time, in milliseconds since 1970: an earlier time comes from a wrong clock. */
  readonly notBefore: number
}
