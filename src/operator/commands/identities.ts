import { type Command, InvalidArgumentError } from 'commander'
import { HUB, PROVISIONING } from '../connection.ts'
import type { Enrollment } from '../factory/provisioning-service.ts'
import { EXIT } from '../failure.ts'
import { HubService } from '../hub-service.ts'
import { print, table, warn } from '../output.ts'
import {
  type HubFlags,
  hubConnection,
  type ProvisioningFlags,
  provisioningService,
  withHub,
  withProvisioning,
} from './provisioning.ts'

interface Options extends ProvisioningFlags, HubFlags {
  /** Milliseconds. */
  readonly within: number
}

/** A certificate, of an individual enrollment or as a device reports it. */
interface Known {
  readonly registrationId?: string
  readonly deviceId: string
  /** Milliseconds since 1970; NaN: not known. */
  readonly end: number
  readonly thumbprint: string
}

const DAY = 86_400_000

const HELP = `
Example:
  pi-adu-operator identities expiring --within 30d || mail-the-team
Lists the certificates that end within the time, or have ended: those of individual enrollments, and those that the devices of the
hub report (piAdu.certificate in the twin), also the devices of groups. Ends with ${EXIT.failed} if there are any. A device that uses
certificates but does not report one (an older agent, or it has never connected) is named in a warning. Call it for each hub.
The connection string of the provisioning service comes from --login, --login-file or ${PROVISIONING} (a policy with "enrollment
read"); the hub's from --hub-login-file or ${HUB} (a policy with "registry read" and "service connect").`

const duration = (given: string): number => {
  const [, count = '', unit = ''] = /^(\d{1,5})([dh])$/.exec(given) ?? []
  if (count === '') throw new InvalidArgumentError('It is not like 30d or 12h.')
  return Number(count) * (unit === 'd' ? DAY : DAY / 24)
}

export function addIdentities(program: Command): void {
  const identities = program.command('identities').description('what is known of the devices’ identities')
  const command = identities
    .command('expiring')
    .description('lists certificates that end soon')
    .option('--within <time>', 'days or hours: 30d, 12h', duration, 30 * DAY)
  withProvisioning(withHub(command)).addHelpText('after', HELP).action(expiring)
}

async function expiring(options: Options): Promise<void> {
  const hub = await HubService.open(await hubConnection(options))
  const service = await provisioningService(options, warn)
  const enrolled = (await service.individuals()).flatMap(inEnrollment)
  const reported = (await hub.query(TWINS)).flatMap(inTwin)
  const all = [...enrolled, ...reported]
  const known = new Map(all.filter(({ end }) => !Number.isNaN(end)).map(each => [keyOf(each), each]))
  // The enrollment, as the one that has both ids.
  for (const each of enrolled) if (!Number.isNaN(each.end)) known.set(keyOf(each), each)
  const told = new Set([...known.values()].map(({ deviceId }) => deviceId))
  const unknown = [...new Set(all.map(({ deviceId }) => deviceId))].filter(id => !told.has(id)).sort()

  const now = Date.now()
  const found = [...known.values()]
    .filter(({ end }) => end - now <= options.within)
    .sort((a, b) => a.end - b.end)
    .map(({ end, ...each }) => ({
      ...each,
      expires: new Date(end).toISOString(),
      /** Whole days; negative when it has ended. */
      daysLeft: Math.floor((end - now) / DAY),
    }))
  const rows = found.map(({ registrationId, deviceId, expires, daysLeft }) => [
    registrationId ?? deviceId,
    expires,
    daysLeft < 0 ? 'has ended' : `${daysLeft} days left`,
  ])
  const summary = `${found.length} of ${known.size} certificates`
  print(options.json, { expiring: found, certificates: known.size, unknown }, [...table(rows), summary])
  if (unknown.length > 0) warn(silence(unknown))
  process.exitCode = found.length > 0 ? EXIT.failed : EXIT.ok
}

const keyOf = ({ deviceId, thumbprint }: Known): string => `${deviceId} ${thumbprint.toUpperCase()}`

/** How many of them a warning names. */
const NAMED = 10

function silence(ids: readonly string[]): string {
  const says =
    ids.length === 1
      ? '1 device does not say when its certificate ends'
      : `${ids.length} devices do not say when their certificate ends`
  const more = ids.length > NAMED ? ` and ${ids.length - NAMED} more (--json has them all)` : ''
  return `${says}: ${ids.slice(0, NAMED).join(', ')}${more}`
}

function inEnrollment({ registrationId = '', deviceId, attestation }: Enrollment): Known[] {
  if (attestation.type !== 'x509') return []
  const { primary, secondary } = attestation.x509?.clientCertificates ?? {}
  // With both, the device is being moved from one to the other; it has a valid one as long as the later lasts.
  const [latest] = [primary?.info, secondary?.info]
    .map(info => ({ end: Date.parse(info?.notAfterUtc ?? ''), thumbprint: info?.sha256Thumbprint ?? '' }))
    .filter(({ end }) => !Number.isNaN(end))
    .sort((a, b) => b.end - a.end)
  return [{ registrationId, deviceId: deviceId ?? registrationId, ...(latest ?? { end: Number.NaN, thumbprint: '' }) }]
}

const TWINS = 'SELECT deviceId, authenticationType, properties.reported.piAdu.certificate AS certificate FROM devices'

/** Nothing for a device that uses a key. */
function inTwin(row: unknown): Known[] {
  const { deviceId, authenticationType, certificate } = row as Partial<Record<string, unknown>>
  const { sha256, notAfter } = (certificate ?? {}) as { sha256?: unknown; notAfter?: unknown }
  // The device writes these; anything may stand there.
  const end = typeof notAfter === 'string' ? Date.parse(notAfter) : Number.NaN
  const thumbprint = typeof sha256 === 'string' ? sha256 : ''
  if (typeof deviceId !== 'string' || (authenticationType === 'sas' && Number.isNaN(end))) return []
  return [{ deviceId, end, thumbprint }]
}
