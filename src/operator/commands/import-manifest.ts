import { writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { Command } from 'commander'
import { jsonText, onOneLine } from '../../domain/terminal.ts'
import { EXIT, Failure, messageOf } from '../failure.ts'
import { assemble, versionOfImage } from '../import-manifest/assemble.ts'
import { type Found, findBeside } from '../import-manifest/beside.ts'
import { checkManifest, type Finding } from '../import-manifest/check.ts'
import { Contents } from '../import-manifest/contents.ts'
import { manifestOf } from '../import-manifest/create.ts'
import type { ImportManifest, UpdateId } from '../import-manifest/schema.ts'
import { stepsIn, type WantedStep } from '../import-manifest/wanted-step.ts'
import { jsonOf, readInput } from '../input.ts'
import { print, warn } from '../output.ts'
import { type FleetFlags, readOptions, withFleet } from './flags.ts'
import { StepFlags } from './step-flags.ts'

interface CreateOptions extends FleetFlags {
  readonly steps?: string
  readonly provider: string
  readonly name: string
  readonly updateVersion?: string
  readonly compat: readonly string[]
  readonly description?: string
  readonly deployable: boolean
  readonly out?: string
  readonly json: boolean
}

const CREATE_HELP = `
Examples:
  pi-adu-operator import-manifest create --bundle system.swu --provider contoso --name gateway \\
    --compat manufacturer=contoso,model=pi4-gateway
      writes contoso.gateway.2.0.0.importmanifest.json, with the version of sw-description
  pi-adu-operator import-manifest create --provider contoso --name gateway --update-version 2.0.1 \\
    --compat manufacturer=contoso,model=pi4-gateway \\
    --step script:prepare.sh --arguments "--keep-logs" \\
    --step image:system.swu \\
    --step apt:tools.json \\
    --step contoso/mcu:1 --file firmware.hex --property port=/dev/ttyACM0 \\
    --step ref:contoso.sensor.1.4.importmanifest.json
      writes a list of five steps; the options behind a --step belong to it
A file for --steps has the same as a JSON list:
  [{ "step": "script:prepare.sh", "arguments": "--keep-logs" }, { "step": "image:system.swu" }]
Its members: step, description, files, handler, installedCriteria, script, arguments, apiVersion, properties,
relatedFiles (file, of, source, properties), downloadHandler. Its paths start at its own folder.`

const CHECK_HELP = `
Example:
  pi-adu-operator import-manifest check contoso.gateway.2.0.0.importmanifest.json
Also checks what is beside the manifest: sizes, hashes, whether devices would accept bundles, APT manifests and scripts,
and the import manifests that reference steps name. Ends with ${EXIT.failed} if the service would refuse the manifest, or if
no device could install what it describes.`

export function addImportManifest(program: Command): void {
  const command = program.command('import-manifest').description('writes and checks import manifests for Device Update')
  const flags = new StepFlags()
  withFleet(flags.addTo(flags.addBundleTo(command.command('create'))))
    .description('writes a version 5 import manifest for a bundle, or for a list of steps')
    .option('--steps <file>', 'the steps, as a JSON list (see below)')
    .requiredOption('--provider <name>', 'provider in the update id')
    .requiredOption('--name <name>', 'what it is for')
    .option(
      '--update-version <version>',
      'version of the update (default: the one in sw-description of the only image)',
    )
    .requiredOption('--compat <pairs...>', 'devices that the update fits, as property=value,property=value')
    .option('--description <text>', 'a description for people')
    .option('--no-deployable', 'only for use as a reference by other updates')
    .option('--out <file>', 'where to write it; "-" is stdout')
    .option('--json', 'print JSON', false)
    .addHelpText('after', CREATE_HELP)
    .action((options: CreateOptions) => create(flags, options))
  withFleet(command.command('check'))
    .description('checks an import manifest of version 4 or 5, from any author')
    .argument('<file>', 'the manifest')
    .option('--installed-criteria <text>', 'first line of the new version file, if that is not the bundle’s version')
    .option('--json', 'print JSON', false)
    .addHelpText('after', CHECK_HELP)
    .action(check)
}

async function create(flags: StepFlags, options: CreateOptions): Promise<void> {
  const wanted = await stepsOf(flags, options)
  const contents = new Contents(readOptions(options))
  const version = options.updateVersion ?? (await versionOfImage(wanted, contents))
  const { steps, files, paths, children } = await assemble(wanted, version, contents)
  const manifest = manifestOf({
    updateId: { provider: options.provider, name: options.name, version },
    compatibility: options.compat.map(pairsOf),
    description: options.description,
    isDeployable: options.deployable,
    steps,
    files,
    now: new Date(),
  })
  const references = steps.flatMap(step => (step.type === 'reference' ? [step.updateId] : []))
  const childOf = (updateId: UpdateId): string => children[references.indexOf(updateId)] ?? ''
  const places = { fileOf: (name: string) => paths.get(name) ?? name, childOf }
  const found = await findBeside(manifest, places, contents)
  const given = await criteriaGiven(wanted, contents)
  const findings = findingsOf(manifest, { ...found, versions: new Map([...found.versions, ...given]) })
  const errors = findings.filter(({ level }) => level === 'error')
  if (errors.length > 1) process.stderr.write(errors.map(each => `${onOneLine(line(each))}\n`).join(''))
  if (errors.length > 1) throw new Failure(EXIT.failed, `${errors.length} mistakes; nothing was written`)
  if (errors[0]) throw new Failure(EXIT.failed, line(errors[0]))
  const text = `${jsonText(manifest, 2)}\n`
  if (options.out === '-') return void process.stdout.write(text)
  const { provider, name } = manifest.updateId
  const out = options.out ?? `${provider}.${name}.${version}.importmanifest.json`
  await writeFile(out, text).catch(cause => {
    throw new Failure(EXIT.unavailable, `cannot write ${out}: ${messageOf(cause)}`, { cause })
  })
  print(options.json, { path: out, manifest, findings }, [...findings.map(line), `written: ${out}`])
}

async function stepsOf(flags: StepFlags, { steps: file }: CreateOptions): Promise<readonly WantedStep[]> {
  const given = flags.steps()
  if (file === undefined) {
    if (given.length > 0) return given
    throw new Failure(EXIT.usage, 'no step: give --bundle FILE, --step STEP in order, or --steps FILE')
  }
  if (given.length > 0) throw new Failure(EXIT.usage, '--steps has the whole list: leave --step and --bundle out')
  return stepsIn(jsonOf(await readInput(file), file), file, dirname(file))
}

/** By file name, where the author says what the version file of an image has: it may be right and not the bundle's version. */
async function criteriaGiven(steps: readonly WantedStep[], contents: Contents): Promise<ReadonlyMap<string, string>> {
  const given = new Map<string, string>()
  for (const { kind, installedCriteria, files, script } of steps) {
    const [bundle = ''] = files
    if (kind !== 'image' || script !== undefined || installedCriteria === undefined) continue
    given.set(basename(bundle), installedCriteria)
    const { names } = await contents.of(bundle, 'bundle')
    if (installedCriteria === names) continue
    const why = `the version of ${basename(bundle)} is ${names}, and the version file must begin with ${installedCriteria}`
    warn(`${why}: else each device would install it and fall back`)
  }
  return given
}

function pairsOf(text: string): Record<string, string> {
  const pairs = text.split(',').map(pair => {
    const at = pair.indexOf('=')
    if (at < 1) throw new Failure(EXIT.usage, `--compat ${text}: it must look like manufacturer=contoso,model=gateway`)
    return [pair.slice(0, at), pair.slice(at + 1)] as const
  })
  return Object.fromEntries(pairs)
}

interface CheckOptions extends FleetFlags {
  readonly installedCriteria?: string
  readonly json: boolean
}

async function check(file: string, { json, ...options }: CheckOptions): Promise<void> {
  const manifest = jsonOf(await readInput(file), file)
  const folder = dirname(file)
  const places = {
    fileOf: (name: string) => join(folder, name),
    childOf: ({ provider, name, version }: UpdateId) =>
      join(folder, `${provider}.${name}.${version}.importmanifest.json`),
  }
  const contents = new Contents(readOptions(options))
  const isSound = checkManifest(manifest).every(({ level }) => level !== 'error')
  const found = isSound ? await findBeside(manifest as ImportManifest, places, contents) : undefined
  const findings = findingsOf(manifest, found, options.installedCriteria)
  const good = findings.every(({ level }) => level !== 'error')
  print(json, { path: file, good, findings }, [
    ...findings.map(line),
    good ? `${file} is in order` : `${file} is not in order`,
  ])
  if (!good) process.exitCode = EXIT.failed
}

/** Of the manifest by itself, and of what is beside it. */
function findingsOf(manifest: unknown, found?: Found, installedCriteria?: string): readonly Finding[] {
  const beside = { installedCriteria, ...(found ? { versions: found.versions } : {}) }
  return [...checkManifest(manifest, beside), ...(found?.findings ?? [])]
}

const line = ({ level, path, message }: Finding): string => `${level}: ${path ? `${path} ` : 'the manifest '}${message}`
