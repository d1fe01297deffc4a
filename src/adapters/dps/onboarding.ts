import type { HubAuth } from '../../ports/identity.ts'

/** What the provisioning service assigns a device to. */
export interface Assigned {
  /** Host name, with `:port` if it is not the protocol's default. */
  readonly hub: string
  readonly deviceId: string
  /** The service's reason for the assignment, such as `initialAssignment`. */
  readonly substatus: string | undefined
  /** An issued certificate and its chain, in base64 of DER, unchecked; undefined if none was issued. */
  readonly chain: readonly string[] | undefined
}

/**
 * How a registration ended. `transient` may pass by itself; `retryAfter` is the delay in milliseconds that the service asks
 * for, `unsent` that the service got no registration, such as without a network. `operator` needs a person, at the service or on the
 * device. `why` is one line without secrets.
 */
export type Outcome =
  | { readonly is: 'assigned'; readonly to: Assigned }
  | {
      readonly is: 'transient'
      readonly why: string
      readonly retryAfter: number | undefined
      readonly unsent?: true
    }
  | { readonly is: 'operator'; readonly why: string }

export interface Registration {
  /** In lower case. */
  readonly registrationId: string
  readonly auth: HubAuth
  /** A certificate request, in base64 of DER; undefined if no certificate is wanted. */
  readonly csr?: string | undefined
  /** Milliseconds for all of it; undefined: `REGISTRATION_LIMIT`. */
  readonly limit?: number | undefined
}

/** Milliseconds for a registration with all its polls: a custom allocation may be slow. */
export const REGISTRATION_LIMIT = 15 * 60_000

/** The same for a device that knows a hub, which is then tried: a trial boot lasts ten minutes. */
export const KNOWN_HUB_LIMIT = 90_000

/** Access to the provisioning service. */
export interface Onboarding {
  /** One registration with all its polls, which may take minutes. Rejects only with the signal's reason. */
  register(registration: Registration, signal: AbortSignal): Promise<Outcome>
}
