import { resolve } from 'node:path'
import type { Command } from 'commander'
import { isObject, member } from '../../domain/members.ts'
import { CONNECTION_HELP, connectionString, type LoginOptions, withLogin } from '../connection.ts'
import { EXIT, Failure } from '../failure.ts'
import { HubService } from '../hub-service.ts'
import { jsonOf, readInput, textOf } from '../input.ts'
import { writeOffline } from '../offline/folder.ts'
import { bytes, print } from '../output.ts'

interface OfflineOptions extends LoginOptions {
  readonly device?: string
  readonly deployment?: string
  readonly out: string
  readonly ca?: string
  readonly json: boolean
}

const HELP = `
Device Update signs a deployment when it is deployed. Deploy the update to one device of the same class, which may be
offline, and take it from its twin:
  pi-adu-operator offline create --device pi1 --out /media/stick
  pi-adu-operator offline create --deployment twin.json --out /media/stick
      --deployment is a twin, its desired properties, or deviceUpdate.service, as JSON
`

export function addOffline(program: Command): void {
  const command = program
    .command('offline')
    .description('deployments for devices without a network')
    .command('create')
    .description('writes a folder, for a stick, with a signed deployment and its files')
    .requiredOption('--out <folder>', 'where to write it')
    .option('--device <id>', 'take the deployment from the twin of this device')
    .option('--deployment <file>', 'take it from a file; - for stdin')
    .option('--ca <file>', 'a certificate authority for the downloads, instead of the usual ones')
    .option('--json', 'as one JSON object', false)
  withLogin(command)
    .addHelpText('after', HELP + CONNECTION_HELP)
    .action(create)
}

async function create(options: OfflineOptions): Promise<void> {
  const service = serviceIn(await documentOf(options))
  const ca = options.ca === undefined ? undefined : textOf(await readInput(options.ca), options.ca)
  const written = await writeOffline(service, resolve(options.out), ca)
  const lines = [`${written.folder}: ${written.files.join(', ')} (${bytes(written.bytes)}) and deployment.json`]
  print(options.json, written, lines)
}

async function documentOf(options: OfflineOptions): Promise<unknown> {
  const { device, deployment } = options
  if ((device === undefined) === (deployment === undefined)) {
    throw new Failure(EXIT.usage, 'give either --device or --deployment')
  }
  if (device !== undefined) return (await HubService.open(await connectionString(options))).twin(device)
  const file = deployment ?? ''
  return jsonOf(await readInput(file), file === '-' ? 'stdin' : file)
}

/** A twin as the service or the device sees it, desired properties, or the service object itself. */
function serviceIn(document: unknown): unknown {
  const desired = member(member(document, 'properties'), 'desired') ?? member(document, 'desired') ?? document
  const service = member(member(desired, 'deviceUpdate'), 'service') ?? desired
  if (isObject(service) && typeof member(service, 'updateManifest') === 'string') return service
  throw new Failure(EXIT.failed, 'there is no deployment in it: deviceUpdate.service has no updateManifest')
}
