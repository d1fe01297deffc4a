import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { Command } from 'commander'
import { readBundle } from '../bundle/show.ts'
import { EXIT, Failure, messageOf } from '../failure.ts'
import { checkManifest, type Finding } from '../import-manifest/check.ts'
import { manifestOf } from '../import-manifest/create.ts'
import { print } from '../output.ts'

interface CreateOptions {
  readonly bundle: string
  readonly provider: string
  readonly name: string
  readonly updateVersion?: string
  readonly compat: readonly string[]
  readonly handler: string
  readonly installedCriteria?: string
  readonly description?: string
  readonly deployable: boolean
  readonly cert?: string
  readonly out?: string
  readonly json: boolean
}

const CREATE_HELP = `
Example:
  pi-adu-operator import-manifest create --bundle system.swu --provider contoso --name gateway \\
    --compat manufacturer=contoso,model=pi4-gateway
      writes contoso.gateway.2.0.0.importmanifest.json, the version being that of sw-description`

const CHECK_HELP = `
Example:
  pi-adu-operator import-manifest check contoso.gateway.2.0.0.importmanifest.json
Looks at sizes and hashes too, of the files that lie beside the manifest. Ends with ${EXIT.failed} when the service would refuse
the manifest, or no device could install what it describes.`

export function addImportManifest(program: Command): void {
  const command = program.command('import-manifest').description('authors and checks import manifests of Device Update')
  command
    .command('create')
    .description('writes a version 5 import manifest for a bundle')
    .requiredOption('--bundle <file>', 'the bundle (.swu)')
    .requiredOption('--provider <name>', 'who the update is from')
    .requiredOption('--name <name>', 'what it is for')
    .option('--update-version <version>', 'of the update; what sw-description says unless told')
    .requiredOption('--compat <pairs...>', 'devices that it fits, as property=value,property=value')
    .option('--handler <handler>', 'microsoft/swupdate:2 or :1', 'microsoft/swupdate:2')
    .option('--installed-criteria <text>', 'first line of the version file of the new system; the version unless told')
    .option('--description <text>', 'for people')
    .option('--no-deployable', 'only other updates refer to it')
    .option('--cert <file>', 'PEM certificate to verify the bundle with first')
    .option('--out <file>', 'where to write it; "-" is stdout')
    .option('--json', 'print JSON', false)
    .addHelpText('after', CREATE_HELP)
    .action(create)
  command
    .command('check')
    .description('checks an import manifest of version 4 or 5, by whoever it was made')
    .argument('<file>', 'the manifest')
    .option('--json', 'print JSON', false)
    .addHelpText('after', CHECK_HELP)
    .action(check)
}

async function create(options: CreateOptions): Promise<void> {
  const bundle = await readBundle(options.bundle, options.cert)
  if (bundle.findings.length > 0) throw new Failure(EXIT.failed, `${options.bundle}: ${bundle.findings[0]}`)
  const manifest = manifestOf({
    bundle,
    fileName: basename(options.bundle),
    provider: options.provider,
    name: options.name,
    compatibility: options.compat.map(pairsOf),
    handler: options.handler,
    isDeployable: options.deployable,
    now: new Date(),
    ...(options.updateVersion === undefined ? {} : { version: options.updateVersion }),
    ...(options.installedCriteria === undefined ? {} : { installedCriteria: options.installedCriteria }),
    ...(options.description === undefined ? {} : { description: options.description }),
  })
  const findings = checkManifest(manifest)
  const errors = findings.filter(({ level }) => level === 'error')
  if (errors.length > 0) throw new Failure(EXIT.failed, errors.map(line).join('; '))
  const text = `${JSON.stringify(manifest, null, 2)}\n`
  if (options.out === '-') return void process.stdout.write(text)
  const { provider, name, version } = manifest.updateId
  const out = options.out ?? `${provider}.${name}.${version}.importmanifest.json`
  await writeFile(out, text).catch(cause => {
    throw new Failure(EXIT.unavailable, `cannot write ${out}: ${messageOf(cause)}`, { cause })
  })
  print(options.json, { path: out, manifest, findings }, [...findings.map(line), `written: ${out}`])
}

function pairsOf(text: string): Record<string, string> {
  const pairs = text.split(',').map(pair => {
    const at = pair.indexOf('=')
    if (at < 1) throw new Failure(EXIT.usage, `--compat ${text}: it must look like manufacturer=contoso,model=gateway`)
    return [pair.slice(0, at), pair.slice(at + 1)] as const
  })
  return Object.fromEntries(pairs)
}

async function check(file: string, { json }: { json: boolean }): Promise<void> {
  const text = await readFile(file, 'utf8').catch(cause => {
    throw new Failure(EXIT.unavailable, `cannot read ${file}: ${messageOf(cause)}`, { cause })
  })
  let manifest: unknown
  try {
    manifest = JSON.parse(text)
  } catch (cause) {
    throw new Failure(EXIT.failed, `${file} is not JSON: ${messageOf(cause)}`, { cause })
  }
  const found = checkManifest(manifest)
  const isSound = found.every(({ level }) => level !== 'error')
  const findings = isSound ? [...found, ...(await besides(file, manifest as Listing))] : found
  const good = findings.every(({ level }) => level !== 'error')
  print(json, { path: file, good, findings }, [
    ...findings.map(line),
    good ? `${file} is in order` : `${file} is not in order`,
  ])
  if (!good) process.exitCode = EXIT.failed
}

const line = ({ level, path, message }: Finding): string => `${level}: ${path ? `${path} ` : 'the manifest '}${message}`

interface Listing {
  readonly files?: readonly {
    readonly filename: string
    readonly sizeInBytes: number
    readonly hashes: { sha256: string }
  }[]
}

async function besides(manifest: string, { files = [] }: Listing): Promise<Finding[]> {
  const findings: Finding[] = []
  for (const [index, { filename, sizeInBytes, hashes }] of files.entries()) {
    const path = join(dirname(manifest), filename)
    const found = await stat(path).catch(() => undefined)
    if (!found) continue
    if (found.size !== sizeInBytes) {
      findings.push({
        level: 'error',
        path: `files.${index}.sizeInBytes`,
        message: `is ${sizeInBytes}, ${path} has ${found.size}`,
      })
      continue
    }
    const hash = createHash('sha256')
    for await (const chunk of createReadStream(path)) hash.update(chunk)
    if (hash.digest('base64') === hashes.sha256) continue
    findings.push({ level: 'error', path: `files.${index}.hashes.sha256`, message: `is not that of ${path}` })
  }
  return findings
}
