import type { Command } from 'commander'
import { connectionFields } from '../../domain/connection-string.ts'
import { HUB, PROVISIONING } from '../connection.ts'
import { newKey } from '../factory/device-key.ts'
import { checkedRegistrationId } from '../factory/names.ts'
import type { ProvisioningService } from '../factory/provisioning-service.ts'
import { EXIT } from '../failure.ts'
import { HubFailure, HubService } from '../hub-service.ts'
import { print, warn } from '../output.ts'
import {
  type HubFlags,
  hubConnection,
  type ProvisioningFlags,
  provisioningService,
  withHub,
  withProvisioning,
} from './provisioning.ts'

interface Options extends ProvisioningFlags, HubFlags {
  readonly reason: string
}

interface Disabled {
  readonly registrationId: string
  readonly enrollment: 'disabled' | 'blocked in its group'
  readonly deviceId: string
  /** 'assigned elsewhere': to another hub, and nothing was done here. 'not confirmed': an error came before the hub's answer. */
  readonly hub: 'disabled' | 'not there' | 'assigned elsewhere' | 'not confirmed'
}

const HELP = `
Example:
  pi-adu-operator disable pi-0001 --reason stolen
      closes both doors: the enrollment, and the device at the hub. One alone would leave the other open.
A device of a group gets a disabled enrollment of its own, which wins over the group. The connection string of the provisioning
service comes from --login, --login-file or ${PROVISIONING}; the hub's from --hub-login-file or ${HUB} (a
policy with "registry write"). A device that is assigned to another hub is not looked for here: the command says which hub it
is, and ends with ${EXIT.failed}.`

export function addDisable(program: Command): void {
  const command = program
    .command('disable')
    .description('keeps a lost or stolen device out, at the provisioning service and at the hub')
    .argument('<registration-id...>', 'the devices')
    .option('--reason <text>', 'for the hub’s record', 'disabled by pi-adu-operator')
  withProvisioning(withHub(command)).addHelpText('after', HELP).action(run)
}

async function run(given: readonly string[], options: Options): Promise<void> {
  const ids = given.map(id => checkedRegistrationId(id, JSON.stringify(id)))
  const hubLogin = await hubConnection(options)
  const service = await provisioningService(options, warn)
  const hub = await HubService.open(hubLogin)
  const hubName = new Map(connectionFields(hubLogin)).get('HostName')
  const done: Disabled[] = []
  try {
    for (const registrationId of ids) {
      // The enrollment first: with it open, the device would register and be let in again.
      const enrollment = await closeEnrollment(registrationId, service)
      const known = { registrationId, enrollment: enrollment.was, deviceId: enrollment.deviceId ?? registrationId }
      done.push({ ...known, hub: 'not confirmed' })
      const registration = await service.registration(registrationId)
      const deviceId = registration?.deviceId ?? known.deviceId
      const assigned = registration?.assignedHub
      const isElsewhere = assigned !== undefined && assigned.toLowerCase() !== hubName?.toLowerCase()
      if (isElsewhere) {
        warn(`${registrationId} is assigned to ${assigned}; call this again with its connection string`)
        process.exitCode = EXIT.failed
      }
      // This hub may have another device of that name.
      const outcome = isElsewhere ? 'assigned elsewhere' : await closeHub(hub, deviceId, options.reason)
      done[done.length - 1] = { ...known, deviceId, hub: outcome }
    }
  } finally {
    print(options.json, done, done.map(line))
  }
}

const AT_HUB = {
  disabled: 'disabled at the hub',
  'not there': 'not there at the hub',
  'assigned elsewhere': 'assigned to another hub',
  'not confirmed': 'not confirmed at the hub',
} as const

const line = ({ registrationId, enrollment, deviceId, hub }: Disabled): string =>
  `${registrationId}  enrollment ${enrollment}, device ${deviceId} ${AT_HUB[hub]}`

async function closeEnrollment(registrationId: string, service: ProvisioningService) {
  const found = await service.individual(registrationId)
  if (found) {
    const closed = await service.put({ ...found, provisioningStatus: 'disabled' })
    return { was: 'disabled' as const, deviceId: closed.deviceId }
  }
  // Its key is known to nobody.
  const attestation = { type: 'symmetricKey', symmetricKey: { primaryKey: newKey(), secondaryKey: newKey() } }
  await service.put({ registrationId, attestation, provisioningStatus: 'disabled' })
  return { was: 'blocked in its group' as const, deviceId: undefined }
}

async function closeHub(hub: HubService, deviceId: string, reason: string): Promise<Disabled['hub']> {
  try {
    await hub.disable(deviceId, reason)
    return 'disabled'
  } catch (error) {
    if (error instanceof HubFailure && error.status === 404) return 'not there'
    throw error
  }
}
