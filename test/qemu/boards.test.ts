import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { before, test } from 'node:test'
import {
  type Kernel,
  type Loaded,
  loadedModules,
  missingDrivers,
  readBoards,
  readKernel,
  readTree,
  treeFile,
} from '../../image/builder/boards.ts'
import { IMAGE, linesOf, WLAN_LAYER } from '../../image/builder/data.ts'
import { bootParts } from '../../image/builder/debian.ts'
import { isEnabled, phandles, readDeviceTree, type TreeNode, textsOf } from '../../image/builder/device-tree.ts'
import { readLayer } from '../../image/builder/layer.ts'
import { run } from '../../image/builder/run.ts'

// No board is booted here: Debian's kernel package and device trees, which the image is built from anyway, say what is needed.
let kernel: Kernel
let loaded: Loaded
const trees = new Map<string, readonly TreeNode[]>()
const boards = readBoards()

before(async () => {
  const parts = await bootParts('')
  kernel = await readKernel(parts)
  loaded = await loadedModules(parts, (await readLayer(WLAN_LAYER)).modules)
  for (const board of boards) trees.set(board.name, await readTree(parts, board))
})

function missingWithout(module?: string): readonly string[] {
  const without = (names: readonly string[]) => names.filter(name => name !== module)
  const rest = { initramfs: without(loaded.initramfs), root: without(loaded.root) }
  return boards.flatMap(board => missingDrivers(board, trees.get(board.name)!, kernel, rest))
}

test('each supported board has the drivers of network, storage, GPIO, watchdog and USB, and of what they wait for', () => {
  assert.deepEqual(
    boards.map(board => board.name),
    ['3B', '3B+', '3A+', 'Zero-2-W', '4B', 'CM4'],
  )
  assert.deepEqual(missingWithout(), [])
})

const NEEDED_BY: Readonly<Record<string, readonly string[]>> = {
  // storage and watchdog
  bcm2835: ['3B', '3B+', '3A+', 'Zero-2-W'],
  sdhci_iproc: ['3B', '3B+', '3A+', 'Zero-2-W', '4B', 'CM4'],
  fixed: ['4B', 'CM4'],
  gpio_regulator: ['4B', 'CM4'],
  bcm2835_wdt: ['3B', '3B+', '3A+', 'Zero-2-W', '4B', 'CM4'],
  // network and its PHYs
  smsc95xx: ['3B', '3A+', 'Zero-2-W'],
  smsc: ['3B'],
  lan78xx: ['3B+'],
  microchip: ['3B+'],
  genet: ['4B', 'CM4'],
  mdio_bcm_unimac: ['4B', 'CM4'],
  broadcom: ['4B', 'CM4'],
  r8152: ['3A+', 'Zero-2-W'],
  // WLAN
  brcmfmac: ['3B', '3B+', '3A+', 'Zero-2-W', '4B', 'CM4'],
  // USB
  dwc2: ['3B', '3B+', '3A+', 'Zero-2-W', '4B', 'CM4'],
  phy_generic: ['3B', '3B+', '3A+', 'Zero-2-W', '4B', 'CM4'],
  xhci_pci: ['4B'],
  reset_raspberrypi: ['4B'],
}

for (const [module, names] of Object.entries(NEEDED_BY)) {
  test(`without ${module}, the boards that need it are named: ${names.join(', ')}`, () => {
    const missing = missingWithout(module)
    assert.deepEqual([...new Set(missing.map(line => line.split(':')[0]))], names, missing.join('\n'))
    assert.ok(
      missing.every(line => line.includes(module)),
      missing.join('\n'),
    )
  })
}

test('each board has the firmware that the driver of its radio asks for', () => {
  const rows = linesOf('layers/wlan/firmware.txt').map(line => line.split(' ')[1])
  for (const { name, devices } of boards) {
    // The driver takes the first name of the machine (brcmf_of_probe), and falls back to the file without one, but not for the .txt.
    const machine = String(trees.get(name)![0]!.properties.get('compatible')).split('\0')[0]!
    assert.match(machine, /^raspberrypi,/)
    const chip = devices.includes('sdio:c00v02D0dA9BF') ? '43455' : '43430'
    for (const end of ['bin', 'clm_blob', `${machine}.txt`])
      assert.ok(rows.includes(`brcm/brcmfmac${chip}-sdio.${end}`), `${name}: brcmfmac${chip}-sdio.${end}`)
    for (const end of ['bin', 'clm_blob']) assert.ok(rows.includes(`cypress/cyfmac${chip}-sdio.${end}`))
  }
})

test('the module that a radio depends on is missing without the layer', async () => {
  const { root } = await loadedModules(await bootParts(''))
  assert.ok(!root.includes('brcmfmac'))
})

test('the layer for the pins: the overlay is what its page says, and with it each board has I2C and SPI there, with their drivers', async t => {
  const dir = await mkdtemp(join(tmpdir(), 'header-'))
  t.after(() => rm(dir, { recursive: true }))
  const layer = await readLayer(join(IMAGE, 'layers/header'))
  const [overlay] = layer.overlays
  const page = await readFile(join(IMAGE, 'layers/header/README.md'), 'utf8')
  const [source = ''] = page.match(/^ {4}\/dts-v1[\s\S]*?^ {4}};\n(?=\n\S)/m) ?? []
  const built = join(dir, 'built.dtbo')
  await run(['dtc', '-I', 'dts', '-O', 'dtb', '-o', built, '-'], { stdin: 'pipe', input: source })
  assert.deepEqual(readDeviceTree(await readFile(overlay!.from)), readDeviceTree(await readFile(built)))
  const { root } = await loadedModules(await bootParts(''), layer.modules)
  assert.ok(root.includes('i2c_dev'))
  for (const board of boards) {
    const merged = join(dir, `${board.tree}.dtb`)
    await run(['fdtoverlay', '-i', await treeFile(await bootParts(''), board), '-o', merged, overlay!.from])
    const nodes = readDeviceTree(await readFile(merged))
    const byPhandle = phandles(nodes)
    const pinsOf = ({ properties }: TreeNode): readonly number[] => {
      const pins = byPhandle.get(properties.get('pinctrl-0')!.readUInt32BE())!.properties.get('brcm,pins')!
      return Array.from({ length: pins.length / 4 }, (_, i) => pins.readUInt32BE(4 * i))
    }
    for (const [path, pins, driver] of [
      ['/soc/i2c@7e804000', [2, 3], 'i2c_bcm2835'],
      ['/soc/spi@7e204000', [7, 8, 9, 10, 11], 'spi_bcm2835'],
    ] as const) {
      const bus = nodes.find(node => node.path === path)!
      assert.ok(isEnabled(bus), `${board.name}: ${path}`)
      assert.deepEqual(pinsOf(bus), pins)
      const modules = textsOf(bus, 'compatible').flatMap(each => kernel.modulesFor(`of:C${each}`))
      assert.ok(modules.includes(driver) && root.includes(driver), `${board.name}: ${modules}`)
    }
    for (const at of [0, 1]) {
      const device = nodes.find(node => node.path === `/soc/spi@7e204000/device@${at}`)!
      assert.ok(
        textsOf(device, 'compatible').every(each => kernel.knows(each)),
        board.name,
      )
    }
  }
})
