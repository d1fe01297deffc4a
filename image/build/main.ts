// scripts/build-image: from Debian's packages and this checkout to an image, a bundle, and what is known about them.
import { execFileSync } from 'node:child_process'
import { copyFile, mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { buildAgent } from './agent-bundle.ts'
import { makeBootPartition } from './boot-partition.ts'
import { makeBundle } from './bundle.ts'
import { cached, contentOf, sha256 } from './cache.ts'
import { DEFAULT_BOARD, IMAGE, REVISION } from './data.ts'
import { baseSystem, bootParts } from './debian.ts'
import { makeDisk, readLayout } from './disk.ts'
import { failInOneLine } from './failure.ts'
import { buildInitramfs } from './initramfs.ts'
import { buildNative } from './native.ts'
import { packOverlay } from './overlay.ts'
import { repositoryRoot } from './repository.ts'
import { asRoot, run } from './run.ts'
import { openSigner } from './signer.ts'

failInOneLine('build-image')
const root = repositoryRoot()
const { values } = parseArgs({
  options: {
    version: { type: 'string', default: JSON.parse(await readFile(join(root, 'package.json'), 'utf8')).version },
    board: { type: 'string', default: DEFAULT_BOARD },
    output: { type: 'string', default: join(root, 'dist/system') },
    signer: { type: 'string', default: join(homedir(), '.config/pi-adu-agent/bundle-signer') },
    dev: { type: 'boolean', default: false },
    'no-compress': { type: 'boolean', default: false },
    refresh: { type: 'boolean', default: false },
  },
})
const { version, board, dev } = values
for (const [name, value] of Object.entries({ version, board })) {
  if (!/^[\w.+~-]{1,64}$/.test(value!)) throw new Error(`--${name} ${value}: letters, digits and . _ + ~ - only`)
}
const output = resolve(values.output!)
const began = Date.now()
let lap = began
const figures: Record<string, string | number> = {}
const seconds = (since: number): number => Math.round((Date.now() - since) / 100) / 10

/** Says what is being done, and how long it took. */
async function step<T>(what: string, work: () => Promise<T>): Promise<T> {
  process.stdout.write(`${what} …`)
  lap = Date.now()
  const result = await work().catch(error => {
    process.stdout.write(' failed\n')
    throw error
  })
  process.stdout.write(` ${seconds(lap)} s\n`)
  figures[`seconds: ${what}`] = seconds(lap)
  return result
}

const epoch = Number(process.env.SOURCE_DATE_EPOCH ?? commitTime())
const work = join(output, 'work')
await rm(work, { recursive: true, force: true })
await mkdir(work, { recursive: true })
const refresh = values.refresh ? new Date().toISOString() : ''
const signer = await openSigner(resolve(values.signer!))

const parts = await step('kernel and boot chain', () => bootParts(refresh))
const base = await step("Debian's packages (minutes, the first time)", () => baseSystem(refresh, 1_760_000_000))
const native = await step('native part of onoff', () => buildNative(parts))
const initramfs = await step('initramfs', () => buildInitramfs(parts))
await step('agent', () => buildAgent(join(work, 'agent')))

const overlay = join(work, 'overlay.tar')
await step('overlay', async () =>
  packOverlay(
    overlay,
    [
      { from: join(IMAGE, 'rootfs') },
      ...(dev ? [{ from: join(IMAGE, 'dev-rootfs') }] : []),
      { from: join(work, 'agent'), to: 'usr/lib/pi-adu' },
    ],
    [
      { path: 'etc/adu-version', content: `${version}\n` },
      { path: 'etc/hwrevision', content: `${board} ${REVISION}\n` },
      { path: 'etc/swupdate/certificate.pem', content: await readFile(signer.certificate) },
    ],
    epoch,
  ),
)

// All that the root file system is made of: an unchanged one is not made again.
const inputs = [base, parts, initramfs, native, await sha256(overlay), epoch, dev]
const lists = await contentOf(
  ...['units.txt', 'prune.txt', 'folders.txt', 'modules.txt'].map(name => join(IMAGE, name)),
)
const program = join(root, 'dist/image/build/root-tree.js')
const builder = await contentOf(program, join(root, 'dist/image/build/ext4.js'))
const rootImage = await step('root file system', () =>
  cached('root', [inputs, lists, builder], async dir => {
    const description = { work: dir, base, parts, initramfs, native, overlay, dev, epoch }
    await run(asRoot([process.execPath, program, JSON.stringify(description)]) as [string, ...string[]])
    // Two threads and two hundred give the same bytes.
    await run(['zstd', '-q', '-T2', '-10', join(dir, 'rootfs.ext4'), '-o', join(dir, 'rootfs.ext4.zst')])
  }),
)
const layout = await readLayout()
const rootBytes = (await stat(join(rootImage, 'rootfs.ext4'))).size
if (rootBytes > layout.a.size)
  throw new Error(`the root file system has ${mb(rootBytes)}, its slot ${mb(layout.a.size)}`)

const name = `pi-adu-${version}${dev ? '-dev' : ''}`
const image = join(output, `${name}.img`)
const bundle = join(output, `${name}.swu`)
await step('disk image', async () => {
  await makeBootPartition(join(work, 'boot.vfat'), layout.boot.size, parts, work, epoch)
  const data = JSON.stringify([join(work, 'data.ext4'), layout.data.size, work])
  await run(asRoot([process.execPath, join(root, 'dist/image/build/disk.js'), data]) as [string, ...string[]])
  const files = { boot: join(work, 'boot.vfat'), root: join(rootImage, 'rootfs.ext4'), data: join(work, 'data.ext4') }
  await makeDisk(image, layout, files)
  await run(['ln', '-sfn', files.root, join(output, 'rootfs.ext4')])
})
// What QEMU needs beside the image: on a real board U-Boot and the device tree come from the boot partition.
await mkdir(join(output, 'qemu'), { recursive: true })
for (const [from, to] of [
  ['u-boot-qemu/usr/lib/u-boot/qemu_arm64/u-boot.bin', 'u-boot-virt.bin'],
  ['u-boot-rpi/usr/lib/u-boot/rpi_arm64/u-boot.bin', 'u-boot-rpi.bin'],
]) {
  await copyFile(join(parts, from!), join(output, 'qemu', to!))
}
await run(['mcopy', '-n', '-o', '-i', join(work, 'boot.vfat'), '::bcm2837-rpi-3-b.dtb', join(output, 'qemu')])
await step('signed bundle', () =>
  makeBundle(bundle, { version: version!, image: join(rootImage, 'rootfs.ext4.zst'), signer }),
)
await step('package list', async () => {
  const texts = await Promise.all([base, parts].map(dir => readFile(join(dir, 'versions.txt'), 'utf8')))
  const lines = texts.flatMap(text => text.trim().split('\n')).map(line => line.split('\t').slice(0, 2).join('\t'))
  await writeFile(join(output, `${name}.packages.txt`), `${[...new Set(lines)].sort().join('\n')}\n`)
})
if (!values['no-compress']) {
  await step('block map and compression', async () => {
    await run(['bmaptool', 'create', '-o', `${image}.bmap`, image])
    await run(['zstd', '-q', '-f', '-T0', '-12', image, '-o', `${image}.zst.new`])
    await rename(`${image}.zst.new`, `${image}.zst`)
    await writeFile(`${image}.zst.sha256`, `${await sha256(`${image}.zst`)}  ${name}.img.zst\n`)
  })
  figures['compressed image, MB'] = mb((await stat(`${image}.zst`)).size)
}
figures['root file system, MB'] = mb(rootBytes)
figures['bundle, MB'] = mb((await stat(bundle)).size)
figures['root file system, sha256'] = await sha256(join(rootImage, 'rootfs.ext4'))
figures['seconds in all'] = seconds(began)
await writeFile(join(output, `${name}.figures.json`), `${JSON.stringify(figures, null, 2)}\n`)
await rm(work, { recursive: true, force: true })
for (const [what, value] of Object.entries(figures)) if (!what.startsWith('seconds:')) console.log(`${what}: ${value}`)
console.log(`in ${output}`)

function mb(bytes: number): string {
  return (bytes / 1e6).toFixed(1)
}

/** The time of the checked-out commit: a build of it next year has the same bytes. */
function commitTime(): string {
  try {
    return execFileSync('git', ['log', '-1', '--format=%ct'], { cwd: root, encoding: 'utf8' }).trim()
  } catch {
    return '1760000000'
  }
}
