import { type Command, InvalidArgumentError } from 'commander'
import { bar, openView } from '../../cli/live-view.ts'
import { PROVISIONING } from '../connection.ts'
import { openAuthority } from '../factory/authority.ts'
import { readDevices, type Wanted } from '../factory/device-list.ts'
import { type EnrolOptions, enrol } from '../factory/enrol.ts'
import { EnrollmentRecord } from '../factory/enrollment-record.ts'
import { checkedRegistrationId } from '../factory/names.ts'
import { EXIT, Failure } from '../failure.ts'
import { jsonOf, readInput } from '../input.ts'
import { print } from '../output.ts'
import { DAYS } from './ca.ts'
import { wholeNumber } from './flags.ts'
import { type ProvisioningFlags, provisioningService, withProvisioning } from './provisioning.ts'

interface Options extends ProvisioningFlags {
  readonly device?: readonly string[]
  readonly csv?: string
  readonly out: string
  readonly config: string
  readonly idScope: string
  readonly host?: string
  readonly group?: string
  readonly x509: boolean
  readonly ca?: string
  readonly days: number
  readonly passphraseFile?: string
  readonly tag?: readonly (readonly [string, string])[]
}

const HELP = `
Examples:
  pi-adu-operator enrol --csv batch.csv --out batch --config du-config.json --id-scope 0ne00A1B2C3 --tag ADUGroup=pilot
      an individual enrollment with a key for each line of the CSV
  pi-adu-operator enrol --csv batch.csv --out batch --config du-config.json --id-scope 0ne00A1B2C3 --group fleet
      keys derived from the group's; the group is created if there is none
  pi-adu-operator enrol --device pi-0001 --out batch --config du-config.json --id-scope 0ne00A1B2C3 --x509 --ca factory-ca
      a certificate from the authority of ca create
The CSV's first line names its columns: registrationId, and if wanted deviceId, csr (a file with the certificate request of a
device that keeps its key). For each device there is a folder in --out with the files for its card, and report.json says what
became of each. Call it again after an interruption: it continues where it was.
The connection string of the provisioning service (a policy with "enrollment write") comes from --login, --login-file or the
environment variable ${PROVISIONING}. It is never shown.`

const tagOf = (given: string, earlier: readonly (readonly [string, string])[] = []) => {
  const [, name, value] = /^([A-Za-z0-9_]{1,128})=([^=]{1,512})$/.exec(given) ?? []
  if (name === undefined || value === undefined) throw new InvalidArgumentError('It is not like ADUGroup=pilot.')
  return [...earlier, [name, value] as const]
}

export function addEnrol(program: Command): void {
  const command = program
    .command('enrol')
    .description('enrolls devices at the Device Provisioning Service, and writes what goes on their cards')
    .option('--device <registration-id...>', 'one or a few devices')
    .option('--csv <file>', 'a list of devices')
    .requiredOption('--out <folder>', 'a folder per device, and report.json')
    .requiredOption('--config <file>', 'du-config.json for all of them, without a connection')
    .requiredOption('--id-scope <id>', 'of the provisioning service')
    .option('--host <name>', 'of the provisioning service, for the devices; only for a private one')
    .option('--group <id>', 'enroll as a group instead of each device')
    .option('--x509', 'certificates instead of keys', false)
    .option('--ca <folder>', 'of ca create; signs the certificates')
    .option('--days <count>', 'life of the certificates', wholeNumber(1), DAYS)
    .option('--passphrase-file <file>', 'of the authority’s key')
    .option('--tag <name=value>', 'tag of new devices at the hub; may be repeated', tagOf)
  withProvisioning(command).addHelpText('after', HELP).action(run)
}

async function run(options: Options): Promise<void> {
  const { idScope, out, json } = options
  const call = await checked(options)
  const record = await EnrollmentRecord.open(out, idScope, call.group)
  const view = await openView(json)
  const service = await provisioningService(options, why => view.trouble(why))
  const total = call.devices.length
  const counts = () => {
    const states = call.devices.map(({ registrationId }) => record.devices.get(registrationId)?.state)
    const count = (state: string) => states.filter(each => each === state).length
    return { enrolled: count('enrolled'), failed: count('failed') }
  }
  const show = (): void => {
    const { enrolled, failed } = counts()
    const text = `${enrolled} of ${total} enrolled${failed > 0 ? `, ${failed} failed` : ''}`
    view.show([`${bar(((enrolled + failed) / total) * 100)}  ${text}`], text, { enrolled, failed, total })
  }
  try {
    show()
    await enrol(call, service, record, show)
  } finally {
    await view.end()
  }
  const { failed } = counts()
  process.exitCode = failed > 0 ? EXIT.failed : EXIT.ok
  const rows = call.devices.flatMap(({ registrationId }) => record.devices.get(registrationId) ?? [])
  const bad = rows.filter(({ state }) => state === 'failed')
  const said = bad.map(({ registrationId, reason }) => `✘ ${registrationId}  ${reason}`)
  print(json, { report: record.file, ...counts(), total }, [...said, `the folders and report.json are in ${out}`])
}

/** Everything that can be checked before the first device. */
async function checked(options: Options): Promise<EnrolOptions> {
  const { csv, device, idScope, x509, ca, config, out, days, host, tag } = options
  if ((csv === undefined) === (device === undefined))
    throw new Failure(EXIT.usage, 'one of --csv and --device is needed')
  if (!/^[A-Za-z0-9]{1,64}$/.test(idScope)) throw new Failure(EXIT.usage, '--id-scope is not like 0ne00A1B2C3')
  if (x509 !== (ca !== undefined)) throw new Failure(EXIT.usage, '--x509 and --ca belong together')
  const group = options.group === undefined ? undefined : checkedRegistrationId(options.group, '--group')
  if (host !== undefined && !/^[a-z0-9.-]+(:\d{1,5})?$/i.test(host))
    throw new Failure(EXIT.usage, '--host is not a host name')
  const devices = csv === undefined ? named(device ?? [], x509) : await readDevices(csv, x509)
  if (group !== undefined && devices.some(({ deviceId }) => deviceId !== undefined)) {
    throw new Failure(EXIT.usage, 'in a group the device id is the registration id: the CSV may have no deviceId')
  }
  const template = jsonOf(await readInput(config), config)
  if (typeof template !== 'object' || template === null || Array.isArray(template)) {
    throw new Failure(EXIT.usage, `${config} is not a JSON object`)
  }
  return {
    ...{ devices, out, group, days, idScope, host },
    config: template as Record<string, unknown>,
    authority: ca === undefined ? undefined : await openAuthority(ca, options.passphraseFile),
    initialTwin: tag && { tags: Object.fromEntries(tag) },
  }
}

function named(ids: readonly string[], withCertificate: boolean): Wanted[] {
  const all = ids.map(id => checkedRegistrationId(id, JSON.stringify(id), withCertificate))
  return [...new Set(all)].map(registrationId => ({ registrationId }))
}
