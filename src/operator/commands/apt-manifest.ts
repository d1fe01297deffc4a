import { writeFile } from 'node:fs/promises'
import type { Command } from 'commander'
import { AgentError } from '../../domain/errors.ts'
import { jsonText } from '../../domain/terminal.ts'
import { type AptManifest, readAptManifest } from '../../handlers/apt/apt-manifest.ts'
import { entryOf, pinned, versionsIn, wordsIn } from '../apt-manifest/words.ts'
import { EXIT, Failure, messageOf } from '../failure.ts'
import { readInput, textOf } from '../input.ts'
import { print } from '../output.ts'

const CREATE_HELP = `
Examples:
  pi-adu-operator apt-manifest create --name contoso-tools --update-version 1.4 thermocontrol=1.0.1 oldtool-
      writes contoso-tools-1.4.json: installs one package in exactly this version, and removes another
  dpkg-query --show > good-device.txt
  pi-adu-operator apt-manifest create --name contoso-tools --update-version 1.4 --from tools.txt --pin good-device.txt
      takes the packages from tools.txt, and their versions from a device
Use it with: pi-adu-operator import-manifest create … --step apt:contoso-tools-1.4.json`

export function addAptManifest(program: Command): void {
  const command = program
    .command('apt-manifest')
    .description('writes and checks APT manifests, for steps with packages')
  command
    .command('create')
    .description('writes the APT manifest of a step')
    .argument('[packages...]', 'name, name=version, or name- to remove it; in this order')
    .requiredOption('--name <name>', 'name of the list')
    .requiredOption('--update-version <version>', 'version of the list; a device installs each version once')
    .option('--from <file>', 'packages from a file, before those of the command line; # begins a comment')
    .option('--pin <file>', 'versions for packages without one: a Packages file, or the output of dpkg-query --show')
    .option('--agent-restart', 'restart the agent afterwards', false)
    .option('--out <file>', 'where to write it; "-" is stdout (default: NAME-VERSION.json)')
    .option('--json', 'print JSON', false)
    .addHelpText('after', CREATE_HELP)
    .action(create)
  command
    .command('check')
    .description('checks an APT manifest with the code of the devices')
    .argument('<file>', 'the manifest')
    .option('--json', 'print JSON', false)
    .action(check)
}

interface CreateOptions {
  readonly name: string
  readonly updateVersion: string
  readonly from?: string
  readonly pin?: string
  readonly agentRestart: boolean
  readonly out?: string
  readonly json: boolean
}

async function create(given: readonly string[], options: CreateOptions): Promise<void> {
  const { name, updateVersion: version, from, pin, agentRestart } = options
  const listed = from === undefined ? [] : wordsIn(textOf(await readInput(from), from))
  const entries = [...listed, ...given].map(entryOf)
  if (entries.length === 0) throw new Failure(EXIT.usage, 'no package: name them, or give --from FILE')
  const known = pin === undefined ? undefined : versionsIn(textOf(await readInput(pin), pin), pin)
  const packages = known && pin !== undefined ? entries.map(entry => pinned(entry, known, pin)) : entries
  const manifest = { name, version, packages, ...(agentRestart ? { agentRestartRequired: true } : {}) }
  const text = `${jsonText(manifest, 2)}\n`
  const read = manifestIn(Buffer.from(text), 'what this would write')
  if (options.out === '-') return void process.stdout.write(text)
  const out = options.out ?? `${criteriaOf(read)}.json`
  if (options.out === undefined && /[/\\]/.test(out)) {
    throw new Failure(EXIT.usage, `${out} cannot be the name of a file: give --out FILE`)
  }
  await writeFile(out, text).catch(cause => {
    throw new Failure(EXIT.unavailable, `cannot write ${out}: ${messageOf(cause)}`, { cause })
  })
  const warnings = warningsOf(read)
  print(options.json, { path: out, manifest, warnings }, [
    ...warnings.map(line => `warning: ${line}`),
    `written: ${out}`,
  ])
}

async function check(file: string, { json }: { readonly json: boolean }): Promise<void> {
  const manifest = manifestIn(await readInput(file), file)
  const warnings = warningsOf(manifest)
  const installedCriteria = criteriaOf(manifest)
  print(json, { path: file, manifest, installedCriteria, warnings }, [
    ...warnings.map(line => `warning: ${line}`),
    `${file} is in order: ${manifest.packages.length} packages, installedCriteria "${installedCriteria}"`,
  ])
}

/** Errors: Failure with what devices would refuse. */
function manifestIn(bytes: Buffer, file: string): AptManifest {
  try {
    return readAptManifest(bytes)
  } catch (cause) {
    if (!(cause instanceof AgentError)) throw cause
    throw new Failure(EXIT.failed, `${file}: ${cause.message}`, { cause })
  }
}

const criteriaOf = ({ name, version }: AptManifest): string => `${name}-${version}`

function warningsOf({ packages }: AptManifest): readonly string[] {
  const loose = packages.filter(({ version, remove }) => version === undefined && !remove).map(({ name }) => name)
  if (loose.length === 0) return []
  return [`without a version, so that each device takes the newest that it finds: ${loose.join(', ')}`]
}
