import type { Command } from 'commander'
import { PATTERN } from '../../bundle/objections.ts'
import { createBundle, type SlotSource } from '../bundle/create.ts'
import { readImageKey } from '../bundle/encrypt.ts'
import { checkPattern } from '../bundle/pattern.ts'
import { type BundleContent, readBundle } from '../bundle/show.ts'
import { EXIT, Failure } from '../failure.ts'
import { bytes, print, table, warn } from '../output.ts'
import { type FleetFlags, readOptions, withFleet } from './flags.ts'

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
  readonly ca?: string
  readonly encrypt?: string
  readonly zstd?: string | true
  readonly description?: string
  readonly json: boolean
}

const CREATE_HELP = `
Examples:
  One image for both slots, compressed:
    pi-adu-operator bundle create --out system.swu --update-version 2.0.0 --image rootfs.ext4 --zstd \\
      --hardware 1.0 --cert signer.pem --key signer.key
  A different image and partition for each slot:
    pi-adu-operator bundle create --out system.swu --update-version 2.0.0 --image-a a.img --image-b b.img \\
      --device-a /dev/mmcblk0p2 --device-b /dev/mmcblk0p3 --hardware 1.0 --hardware 1.1 --cert signer.pem --key signer.key
  Encrypted, with the key file that is on the devices (swupdate -K):
    openssl rand -hex 32 > key; openssl rand -hex 16 >> key
    pi-adu-operator bundle create … --encrypt key

The certificate needs the extended key usage emailProtection, and should be valid from long before today: a board
without a clock may believe it is years earlier. The signature is verified, as on a device, before the bundle is written.`

const SHOW_HELP = `
Examples:
  pi-adu-operator bundle show system.swu
  pi-adu-operator bundle show system.swu --cert signer.pem     verifies the signature too, as the device will
  pi-adu-operator bundle show system.swu --selection main,one main,two     for devices with other selections
Ends with ${EXIT.failed} if something is wrong with the bundle.`

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
    .requiredOption(
      '--hardware <revision...>',
      'board revisions that the bundle fits: revision, board:revision, or #RE: and an extended regular expression',
    )
    .requiredOption('--cert <file>', 'PEM certificate of the signer')
    .requiredOption('--key <file>', 'its PEM key')
    .option('--ca <file>', 'PEM certificate that the devices verify with, if that is not --cert')
    .option('--encrypt <keyfile>', 'encrypt the images with the devices’ AES key, in a file as swupdate -K takes it')
    .option(
      '--zstd [level]',
      'compress images that are not compressed yet, at this level (10); after a power cut they download from the start',
    )
    .option('--description <text>', 'a description for people, in sw-description')
    .option('--json', 'print JSON', false)
    .addHelpText('after', CREATE_HELP)
    .action(create)
  withFleet(bundle.command('show'))
    .description('lists what is in a bundle; verifies hashes and signature')
    .argument('<file>', 'the bundle')
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
    hardware: await Promise.all(options.hardware.map(revisionOf)),
    slots: { ...(a ? { a } : {}), ...(b ? { b } : {}) },
    ...(level === undefined ? {} : { zstd: level }),
    ...(options.encrypt === undefined ? {} : { key: await readImageKey(options.encrypt) }),
  }
  const { cert: certificate, key, ca: root } = options
  const made = await createBundle(options.out, source, { certificate, key, ...(root === undefined ? {} : { root }) })
  if (!(a && b)) {
    const [lacks, runs] = a ? ['b', 'a'] : ['a', 'b']
    warn(`${made.path} has no image for slot ${lacks}: a device that runs slot ${runs} cannot install it`)
  }
  print(options.json, made, [`${made.path}: ${bytes(made.sizeInBytes)}, sha256 ${made.sha256}`])
}

/** A pattern may contain colons. Errors: Failure for one that no device can read. */
async function revisionOf(text: string): Promise<string> {
  const colon = text.startsWith(PATTERN) ? -1 : text.indexOf(':')
  const revision = text.slice(colon + 1)
  if (revision === '' || revision === PATTERN) throw new Failure(EXIT.usage, `--hardware ${text} names no revision`)
  if (revision.startsWith(PATTERN)) await checkPattern(revision.slice(PATTERN.length))
  return revision
}

async function show(file: string, { json, ...flags }: FleetFlags & { json: boolean }): Promise<void> {
  const content = await readBundle(file, readOptions(flags))
  print(json, content, described(content))
  if (content.findings.length > 0) process.exitCode = EXIT.failed
}

const SIGNATURE: Record<BundleContent['signature'], string> = {
  missing: 'missing',
  'not checked': 'there, not verified (give --cert)',
  good: 'good',
  bad: 'BAD',
}

function described(content: BundleContent): string[] {
  const { path, sizeInBytes, sha256, version, hardware, files, images, signature, findings } = content
  const hidden = new Set(images.flatMap(({ encrypted, fileName }) => (encrypted ? [fileName] : []))).size
  const good =
    hidden === 0
      ? 'in order'
      : `in order, but for what is in ${hidden} encrypted file${hidden > 1 ? 's' : ''}: not checked`
  return [
    ...table([
      ['bundle', path],
      ['size', bytes(sizeInBytes)],
      ['sha256', sha256],
      ['version', version],
      ['hardware', hardware.join(', ')],
      ['signature', SIGNATURE[signature]],
    ]),
    '',
    ...table(files.map(each => [each.name, bytes(each.sizeInBytes), each.sha256])),
    '',
    ...table(
      images.map(({ selection, fileName, device = '', type = '', compressed = '', encrypted }) => [
        ...[selection, fileName, device, type, compressed, encrypted ? 'ENCRYPTED' : ''],
      ]),
    ),
    '',
    ...(findings.length === 0 ? [good] : findings.map(each => `WRONG: ${each}`)),
  ]
}
