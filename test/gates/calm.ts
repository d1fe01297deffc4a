import type { LocalFacts } from '../../src/domain/gate.ts'
import type { Conditions } from '../../src/ports/conditions.ts'

/** A device that keeps nothing waiting. */
export const CALM: LocalFacts = {
  locks: [],
  consent: undefined,
  underVoltage: undefined,
  wasUnderVoltage: false,
  battery: undefined,
  metered: undefined,
  busy: undefined,
  timeTrusted: true,
  notBefore: 0,
}

export const calm: Conditions = { read: async () => CALM, forgetConsent: async () => {} }
