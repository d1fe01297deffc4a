import type { Clock } from '../../ports/clock.ts'
import type { Events } from '../../ports/events.ts'
import type { Log } from '../../ports/log.ts'
import { AssignmentFile } from '../dps/assignment-file.ts'
import { type CredentialSettings, deviceCredential } from './device-credential.ts'
import { issuingIn } from './issuing.ts'
import { ProvisionedIdentity, type ProvisionedOptions } from './provisioned.ts'

export interface ServiceSettings
  extends Pick<ProvisionedOptions, 'idScope' | 'host' | 'onboarding'>,
    CredentialSettings {
  readonly issueCertificate: boolean
  /** Where assignment and issued certificate are kept. */
  readonly folder: string
}

/** The identity that the provisioning service assigns. A module of its own, so that only devices that use the service load it. */
export function identityFromService(
  settings: ServiceSettings,
  clock: Clock,
  log: Log,
  events: Pick<Events, 'tell'>,
): ProvisionedIdentity {
  const { idScope, host, onboarding, issueCertificate, folder } = settings
  const credential = deviceCredential(settings, log)
  const issuing = issueCertificate ? issuingIn(folder, clock, log, events) : undefined
  const options = { idScope, host, credential, onboarding, issuing, spread: clock.random() }
  return new ProvisionedIdentity(options, new AssignmentFile(folder, log), clock, log)
}
