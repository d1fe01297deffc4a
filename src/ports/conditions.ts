import type { LocalFacts } from '../domain/gate.ts'
import type { Contract } from './contract.ts'

/** Reads them; what cannot be read is undefined, or a lock that says so. */
export interface Conditions {
  read(): Promise<LocalFacts>
  /** The consent was used: the next update asks again. */
  forgetConsent(): Promise<void>
}

export const conditionsContract: Contract<Conditions> = { read: [], forgetConsent: ['INTERNAL'] }
