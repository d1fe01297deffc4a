// scripts/build-image: from Debian's packages and this checkout to an image, a bundle, and their package list.
import { copyFile, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { LAYER_DEFAULTS } from '../../src/config/layer-defaults.ts'
import { UsageError } from '../../src/domain/errors.ts'
import { buildAgent } from './agent-bundle.ts'
import { checkBoards } from './boards.ts'
import { makeBootPartition } from './boot-partition.ts'
import { makeBundle } from './bundle.ts'
import { cached, cacheSize, contentOf, KEPT, sha256, tidy } from './cache.ts'
import { DEFAULT_BOARD, IMAGE, linesOf, REVISION, WLAN_LAYER } from './data.ts'
import { baseSystem, bootParts, firmwareParts } from './debian.ts'
import { makeDisk, readLayout, sizeOf, slotWarning } from './disk.ts'
import { failInOneLine } from './failure.ts'
import { imagerManifest, measure } from './imager.ts'
import { buildInitramfs } from './initramfs.ts'
import { largest, readInventory, sizeReport } from './inventory.ts'
import { readLayers } from './layers.ts'
import { licenceTexts } from './licences.ts'
import { buildNative } from './native.ts'
import { removeOutput, whole } from './output.ts'
import { packOverlay } from './overlay.ts'
import { step as timed } from './progress.ts'
import { nextRelease, TRIXIE } from './release.ts'
import { commitTime, repositoryRoot } from './repository.ts'
import { run, runAsRoot } from './run.ts'
import { cycloneDxOf, spdxOf } from './sbom.ts'
import { openSigner } from './signer.ts'

failInOneLine('build-image')
const root = repositoryRoot()
const { values } = parseArgs({
  options: {
    version: { type: 'string', default: JSON.parse(await readFile(join(root, 'package.json'), 'utf8')).version },
    board: { type: 'string', default: DEFAULT_BOARD },
    output: { type: 'string', default: join(root, 'dist/system') },
    signer: { type: 'string', default: join(homedir(), '.config/pi-adu-agent/bundle-signer') },
    layer: { type: 'string', multiple: true, default: [] },
    'no-wlan': { type: 'boolean', default: false },
    'slot-size': { type: 'string' },
    'data-size': { type: 'string' },
    'image-url': { type: 'string' },
    next: { type: 'boolean', default: false },
    dev: { type: 'boolean', default: false },
    'no-compress': { type: 'boolean', default: false },
    refresh: { type: 'boolean', default: false },
    clean: { type: 'boolean', default: false },
  },
})
if (values.clean) {
  const before = await cacheSize()
  await tidy(0)
  const { home, bytes } = await cacheSize()
  console.log(`${home}: ${mb(before.bytes - bytes)} MB removed, ${mb(bytes)} MB are in use`)
  process.exit()
}
const { version, board, dev } = values
const release = values.next ? nextRelease() : TRIXIE
for (const [name, value] of Object.entries({ version, board })) {
  if (!/^[\w.+~-]{1,64}$/.test(value!))
    throw new UsageError(`--${name} ${value}: only letters, digits and . _ + ~ - are possible, up to 64`)
}
const imageUrl = values['image-url']
if (imageUrl !== undefined && !/^https?:\/\/[^?#]+$/.test(imageUrl))
  throw new UsageError(
    `--image-url ${imageUrl}: the folder that the image is fetched from, like https://files.example.com/images`,
  )
const layout = await readLayout({
  slot: sizeOf('--slot-size', values['slot-size']),
  data: sizeOf('--data-size', values['data-size']),
})
const layers = await readLayers([
  ...(values['no-wlan'] ? [] : [WLAN_LAYER]),
  ...values.layer!.map(folder => resolve(folder)),
])
const output = resolve(values.output!)
const began = Date.now()
const figures: Record<string, string | number> = {}

async function step<T>(what: string, work: () => Promise<T>): Promise<T> {
  const { result, seconds } = await timed(what, work)
  figures[`seconds: ${what}`] = seconds
  return result
}

const epoch = Number(process.env.SOURCE_DATE_EPOCH ?? commitTime())
const work = join(output, 'work')
await rm(work, { recursive: true, force: true })
await mkdir(work, { recursive: true })
const refresh = values.refresh ? new Date().toISOString() : ''
const signer = await openSigner(resolve(values.signer!))

const parts = await step('kernel and boot chain', () => bootParts(refresh, release))
await step('drivers of the boards', () => checkBoards(parts, layers.modules))
const firmware = await step('firmware of layers', () => firmwareParts(layers.firmware, refresh))
const base = await step("Debian's packages (minutes, the first time)", () =>
  baseSystem(
    refresh,
    1_760_000_000,
    [...new Set([...linesOf('packages.txt'), ...layers.packages])],
    layers.sources,
    release,
  ),
)
const native = await step('native part of onoff', () => buildNative(parts))
const data = [...linesOf('data.txt'), ...layers.data]
const initramfs = await step('initramfs', () => buildInitramfs(parts, data))
const agent = await step('agent', () => buildAgent(join(work, 'agent')))
const inventory = await readInventory({ base, parts, firmware, npm: agent.npm, agent, layers })
const boms = [
  { file: 'spdx.json', content: spdxOf({ version: version!, epoch }, inventory) },
  { file: 'cdx.json', content: cycloneDxOf({ version: version!, epoch }, inventory) },
]

const licences = await step('licence texts', () =>
  licenceTexts({
    ...{ base: join(base, 'base.tar'), parts, firmware, npm: agent.npm, epoch },
    own: join(root, 'LICENSE'),
    debs: inventory.filter(({ kind }) => kind === 'deb'),
  }),
)

const overlay = join(work, 'overlay.tar')
await step('overlay', async () =>
  packOverlay(
    overlay,
    [
      { from: join(IMAGE, 'rootfs') },
      ...release.folders.map(from => ({ from })),
      ...(dev ? [{ from: join(IMAGE, 'dev-rootfs') }] : []),
      { from: join(work, 'agent'), to: 'usr/lib/pi-adu' },
      ...(layers.firmware.length > 0 ? [{ from: join(firmware, 'usr/lib/firmware'), to: 'usr/lib/firmware' }] : []),
    ],
    layers.files,
    [
      ...(layers.list.length > 0
        ? [
            { path: 'etc/pi-adu/layers.json', content: `${JSON.stringify(layers.list, null, 2)}\n` },
            { path: 'usr/lib/pi-adu/secrets.txt', content: layers.secrets.map(line => `${line}\n`).join('') },
          ]
        : []),
      ...(layers.config === undefined
        ? []
        : [{ path: LAYER_DEFAULTS.slice(1), content: `${JSON.stringify(layers.config, null, 2)}\n` }]),
      ...boms.map(({ file, content }) => ({ path: `usr/share/pi-adu/sbom/pi-adu.${file}`, content })),
      { path: 'usr/share/pi-adu/sbom/pi-adu.licences.tar.gz', content: licences },
      { path: 'etc/adu-version', content: `${version}\n` },
      { path: 'etc/hwrevision', content: `${board} ${REVISION}\n` },
      { path: 'etc/swupdate/certificate.pem', content: await readFile(signer.certificate) },
    ],
    epoch,
  ),
)

// Everything that the root file system is made of; if nothing has changed, it is not built again.
const { users, units, modules } = layers
const inputs = [base, parts, initramfs, native, await sha256(overlay), users, units, modules, epoch, dev]
const lists = await contentOf(
  ...'units prune folders links modules dev-modules'.split(' ').map(name => join(IMAGE, `${name}.txt`)),
)
const program = join(root, 'dist/image/builder/root-tree.js')
const builder = await contentOf(program, join(root, 'dist/image/builder/ext4.js'))
const rootImage = await step('root file system', () =>
  cached('root', [inputs, lists, builder], async dir => {
    const description = { work: dir, base, parts, initramfs, native, overlay, users, units, modules, dev, epoch }
    await runAsRoot(program, description)
    // The number of threads does not change the bytes.
    await run(['zstd', '-q', '-T2', '-10', join(dir, 'rootfs.ext4'), '-o', join(dir, 'rootfs.ext4.zst')])
  }),
)
const rootBytes = (await stat(join(rootImage, 'rootfs.ext4'))).size
if (rootBytes > layout.a.size)
  throw new Error(
    `the root file system has ${mb(rootBytes)} MB, its slot ${mb(layout.a.size)} MB: remove packages or layers, or enlarge the ` +
      `slots of a new fleet with --slot-size. The largest parts: ${largest(inventory, 10)
        .map(part => `${part.name} (${mb((part.kib ?? 0) * 1024)} MB)`)
        .join(', ')}`,
  )
const warning = slotWarning(rootBytes, layout.a.size)
if (warning) console.error(`build-image: warning: ${warning}`)

const name = `pi-adu-${version}${release.kinds}${dev ? '-dev' : ''}`
const image = join(output, `${name}.img`)
const bundle = join(output, `${name}.swu`)
await step('disk image', async () => {
  await removeOutput(output, name)
  await makeBootPartition(join(work, 'boot.vfat'), layout.boot.size, parts, work, epoch, layers)
  await runAsRoot(join(root, 'dist/image/builder/disk.js'), [
    join(work, 'data.ext4'),
    layout.data.size,
    work,
    data,
    epoch,
  ])
  const files = { boot: join(work, 'boot.vfat'), root: join(rootImage, 'rootfs.ext4'), data: join(work, 'data.ext4') }
  await whole(image, path => makeDisk(path, layout, files))
  // A copy, because the cache may delete its own.
  await whole(join(output, 'rootfs.ext4'), path => run(['cp', '--sparse=always', files.root, path]))
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
await step('lists of content', async () => {
  for (const { file, content } of boms) await writeFile(join(output, `${name}.${file}`), content)
  await writeFile(join(output, `${name}.licences.tar.gz`), licences)
  const archive = { kind: 'agent' as const, name: 'licence texts', version: version!, kib: licences.length / 1024 }
  await writeFile(join(output, `${name}.sizes.txt`), sizeReport([...inventory, archive], rootBytes, layout.a.size))
  const texts = await Promise.all([base, parts, firmware].map(dir => readFile(join(dir, 'versions.txt'), 'utf8')))
  const lines = texts.flatMap(text => text.trim().split('\n')).map(line => line.split('\t').slice(0, 2).join('\t'))
  await writeFile(join(output, `${name}.packages.txt`), `${[...new Set(lines)].sort().join('\n')}\n`)
})
if (!values['no-compress']) {
  await step('block map and compression', async () => {
    await whole(`${image}.bmap`, path => run(['bmaptool', 'create', '-o', path, image]))
    await whole(`${image}.zst`, path => run(['zstd', '-q', '-f', '-T0', '-12', image, '-o', path]))
    const [extracted, compressed] = [await measure(image), await measure(`${image}.zst`)]
    await writeFile(`${image}.zst.sha256`, `${compressed.sha256}  ${name}.img.zst\n`)
    const entry = { version: version!, image: `${image}.zst`, url: imageUrl, epoch, extracted, compressed }
    await writeFile(join(output, `${name}.rpi-imager-manifest`), imagerManifest(entry))
  })
  figures['compressed image, MB'] = mb((await stat(`${image}.zst`)).size)
}
figures['root file system, MB'] = mb(rootBytes)
figures['slot in use, %'] = Math.round((rootBytes / layout.a.size) * 100)
figures['bundle, MB'] = mb((await stat(bundle)).size)
figures['root file system, sha256'] = await sha256(join(rootImage, 'rootfs.ext4'))
figures['seconds in all'] = Math.round((Date.now() - began) / 100) / 10
await writeFile(join(output, `${name}.figures.json`), `${JSON.stringify(figures, null, 2)}\n`)
await rm(work, { recursive: true, force: true })
for (const [what, value] of Object.entries(figures)) if (!what.startsWith('seconds:')) console.log(`${what}: ${value}`)
console.log(`in ${output}`)
await tidy(KEPT)
const cache = await cacheSize()
console.log(`cache: ${mb(cache.bytes)} MB in ${cache.home}; --clean empties it`)

function mb(bytes: number): string {
  return (bytes / 1e6).toFixed(1)
}
