import type { Command } from 'commander'
import { createBundle, type SlotSource } from '../bundle/create.ts'
import { type BundleContent, readBundle } from '../bundle/show.ts'
import { EXIT, Failure } from '../failure.ts'
import { bytes, print, table } from '../output.ts'

interface CreateOptions {
  readonly out: string
  readonly updateVersion: string
  readonly image?: string
  readonly imageA?: string
  readonly imageB?: string
  readonly deviceA: string
  readonly deviceB: string
  readonly hardware: readonly string[]
  readonly cert: string
  readonly key: string
  readonly zstd?: string | true
  readonly description?: string
  readonly json: boolean
}

const CREATE_HELP = `
Examples:
  One image that fits both slots, compressed on the way:
    pi-adu-operator bundle create --out system.swu --update-version 2.0.0 --image rootfs.ext4 --zstd \\
      --hardware pi4 --cert signer.pem --key signer.key
  Another image and other partitions for each slot:
    pi-adu-operator bundle create --out system.swu --update-version 2.0.0 --image-a a.img --image-b b.img \\
      --device-a /dev/mmcblk0p2 --device-b /dev/mmcblk0p3 --hardware 1.0 --hardware 1.1 --cert signer.pem --key signer.key

The certificate needs the extended key usage emailProtection, and should begin long before today: a board without a
clock may believe to be years back.`

const SHOW_HELP = `
Examples:
  pi-adu-operator bundle show system.swu
  pi-adu-operator bundle show system.swu --cert signer.pem     verifies the signature too, as the device will
Ends with ${EXIT.failed} when something is wrong with the bundle.`

export function addBundle(program: Command): void {
  const bundle = program.command('bundle').description('makes and reads signed bundles (.swu)')
  bundle
    .command('create')
    .description('makes a signed bundle from images for slots a and b')
    .requiredOption('--out <file>', 'the bundle to write')
    .requiredOption('--update-version <version>', 'version in sw-description')
    .option('--image <file>', 'image for both slots; may be compressed with zstd or gzip already')
    .option('--image-a <file>', 'image for slot a only')
    .option('--image-b <file>', 'image for slot b only')
    .option('--device-a <path>', 'where SWUpdate writes slot a', 'pi-adu/a')
    .option('--device-b <path>', 'where SWUpdate writes slot b', 'pi-adu/b')
    .requiredOption('--hardware <revision...>', 'board revisions that it fits: revision, or board:revision')
    .requiredOption('--cert <file>', 'PEM certificate that the devices verify with')
    .requiredOption('--key <file>', 'its PEM key')
    .option(
      '--zstd [level]',
      'compress what is not compressed yet, with this level (10); after a power cut it comes from its start again',
    )
    .option('--description <text>', 'a line for people, in sw-description')
    .option('--json', 'print JSON', false)
    .addHelpText('after', CREATE_HELP)
    .action(create)
  bundle
    .command('show')
    .description('lists what is in a bundle and verifies hashes and signature')
    .argument('<file>', 'the bundle')
    .option('--cert <file>', 'PEM certificate to verify the signature with')
    .option('--json', 'print JSON', false)
    .addHelpText('after', SHOW_HELP)
    .action(show)
}

async function create(options: CreateOptions): Promise<void> {
  const { image, imageA = image, imageB = image, zstd, description } = options
  const level = zstd === undefined ? undefined : zstd === true ? 10 : Number(zstd)
  if (level !== undefined && !(Number.isInteger(level) && level >= 1 && level <= 19)) {
    throw new Failure(EXIT.usage, '--zstd takes a level from 1 to 19')
  }
  const slot = (path: string | undefined, device: string): SlotSource | undefined =>
    path === undefined ? undefined : { image: path, device }
  const a = slot(imageA, options.deviceA)
  const b = slot(imageB, options.deviceB)
  const source = {
    version: options.updateVersion,
    ...(description === undefined ? {} : { description }),
    hardware: options.hardware.map(each => each.slice(each.indexOf(':') + 1)),
    slots: { ...(a ? { a } : {}), ...(b ? { b } : {}) },
    ...(level === undefined ? {} : { zstd: level }),
  }
  const made = await createBundle(options.out, source, { certificate: options.cert, key: options.key })
  print(options.json, made, [`${made.path}: ${bytes(made.sizeInBytes)}, sha256 ${made.sha256}`])
}

async function show(file: string, { cert, json }: { cert?: string; json: boolean }): Promise<void> {
  const content = await readBundle(file, cert)
  print(json, content, described(content))
  if (content.findings.length > 0) process.exitCode = EXIT.failed
}

const SIGNATURE: Record<BundleContent['signature'], string> = {
  missing: 'missing',
  'not checked': 'there, not verified (give --cert)',
  good: 'good',
  bad: 'BAD',
}

function described({
  path,
  sizeInBytes,
  sha256,
  version,
  hardware,
  files,
  images,
  signature,
  findings,
}: BundleContent) {
  return [
    ...table([
      ['bundle', path],
      ['size', bytes(sizeInBytes)],
      ['sha256', Buffer.from(sha256, 'base64').toString('hex')],
      ['version', version],
      ['hardware', hardware.join(', ')],
      ['signature', SIGNATURE[signature]],
    ]),
    '',
    ...table(files.map(each => [each.name, bytes(each.sizeInBytes), each.sha256])),
    '',
    ...table(
      images.map(each => [each.selection, each.fileName, each.device ?? '', each.type ?? '', each.compressed ?? '']),
    ),
    '',
    ...(findings.length === 0 ? ['in order'] : findings.map(each => `WRONG: ${each}`)),
  ]
}
