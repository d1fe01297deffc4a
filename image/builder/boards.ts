import { readdir, readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cached, contentOf } from './cache.ts'
import { linesOf } from './data.ts'
import { isEnabled, phandles, readDeviceTree, suppliersOf, type TreeNode, textsOf } from './device-tree.ts'
import { kernelVersion, moduleFiles } from './modules.ts'

/** A line of image/boards.txt. */
export interface Board {
  readonly name: string
  readonly tree: string
  /** Modaliases of devices that are not in the device tree. */
  readonly devices: readonly string[]
}

/** What a kernel package offers. */
export interface Kernel {
  /** The modules for a modalias, such as `of:CNAME` or `platform:NAME`. */
  modulesFor(modalias: string): readonly string[]
  /** Whether the kernel itself knows this `compatible`. */
  knows(compatible: string): boolean
}

/** Names of modules, in the order in which they are loaded. */
export interface Loaded {
  readonly initramfs: readonly string[]
  readonly root: readonly string[]
}

/** The driver of the boards' radios. */
const RADIO = 'brcmfmac'

/** Generic names of nodes (Devicetree Specification v0.4, "Generic Names Recommendation"). Storage and watchdog must work before there is a root. */
const EARLY = /^(mmc|watchdog)(@|$)/
const LATE = /^(ethernet|usb|usbether)(@|$)/

/**
 * The drivers that a board lacks. Every network, storage, GPIO, watchdog and USB device, and every device that these depend on, needs
 * its driver in the kernel, the initramfs or the root file system. Returns one line per missing driver. Pure.
 */
export function missingDrivers(
  board: Board,
  nodes: readonly TreeNode[],
  kernel: Kernel,
  loaded: Loaded,
): readonly string[] {
  const missing = new Set<string>()
  const say = (what: string): void => void missing.add(`${board.name}: ${what}`)
  const byPhandle = phandles(nodes)
  const anywhere = new Set([...loaded.initramfs, ...loaded.root])

  const visit = (node: TreeNode, early: boolean, user: readonly string[], seen: Set<TreeNode>): void => {
    if (seen.has(node)) return
    seen.add(node)
    const own = driversOf(node, kernel)
    if (own === 'none') say(`${node.path} (${textsOf(node, 'compatible')[0]}) has no driver in this kernel`)
    const drivers = own === 'none' ? [] : own
    for (const driver of drivers) {
      if (early && !loaded.initramfs.includes(driver)) say(`${node.path} needs ${driver} in initramfs/modules.txt`)
      else if (!anywhere.has(driver)) say(`${node.path} needs ${driver} in modules.txt`)
      for (const later of early ? user : []) {
        if (loaded.initramfs.indexOf(driver) > loaded.initramfs.indexOf(later))
          say(`initramfs/modules.txt loads ${later} before ${driver}, which it needs`)
      }
    }
    for (const supplier of suppliersOf(node, byPhandle))
      if (isEnabled(supplier)) visit(supplier, early, drivers.length > 0 ? drivers : user, seen)
  }
  for (const node of nodes) {
    const name = basename(node.path)
    const early = EARLY.test(name)
    if (!early && !LATE.test(name) && !node.properties.has('gpio-controller')) continue
    if (isEnabled(node)) visit(node, early, [], new Set())
  }
  for (const device of board.devices) {
    const drivers = kernel.modulesFor(device)
    if (drivers.length === 0) say(`${device} has no driver in this kernel`)
    const early = device.includes('wdt')
    for (const driver of drivers) {
      if (early && !loaded.initramfs.includes(driver)) say(`${device} needs ${driver} in initramfs/modules.txt`)
      else if (!anywhere.has(driver)) say(`${device} needs ${driver} in modules.txt`)
    }
  }
  return [...missing]
}

/** The modules that drive a node; empty if the driver is built in, or the node is not a device. */
function driversOf(node: TreeNode, kernel: Kernel): readonly string[] | 'none' {
  const names = textsOf(node, 'compatible')
  // The root node describes the machine.
  if (names.length === 0 || node.parent === undefined) return []
  for (const name of names) {
    const usb = /^usb([0-9a-f]{1,4}),([0-9a-f]{1,4})$/i.exec(name)
    const modules = [
      ...kernel.modulesFor(`of:C${name}`),
      ...(usb ? kernel.modulesFor(usbAlias(usb[1]!, usb[2]!, node.children.length > 0)) : []),
    ]
    if (modules.length > 0) return modules
  }
  return names.some(name => kernel.knows(name)) ? [] : 'none'
}

const usbAlias = (vendor: string, product: string, isHub: boolean): string => {
  const [v, p] = [vendor, product].map(id => id.toUpperCase().padStart(4, '0'))
  return `usb:v${v}p${p}d0000dc${isHub ? '09' : 'FF'}dsc00dp00icFFiscFFip00in00`
}

/** The boards of image/boards.txt, with their radios or without. */
export function readBoards(lines: readonly string[] = linesOf('boards.txt'), radios = true): readonly Board[] {
  return lines.map(line => {
    const [name = '', tree = '', ...devices] = line.split(/\s+/)
    return { name, tree, devices: devices.map(modaliasOf).filter(device => radios || !device.startsWith('sdio:')) }
  })
}

/** The kernel's modalias for a short form in image/boards.txt. Pure. */
function modaliasOf(device: string): string {
  const [kind, one = '', two = '', three = ''] = device.split(':')
  if (kind === 'phy') return `mdio:${Number.parseInt(one, 16).toString(2).padStart(32, '0')}`
  if (kind === 'usb') return usbAlias(one, two, false)
  if (kind === 'sdio') return `sdio:c00v${one}d${two}`
  if (kind !== 'pci') return device
  const [, base, sub, port] = /^(..)(..)(..)$/.exec(three) ?? []
  return `pci:v0000${one}d0000${two}sv00000000sd00000000bc${base}sc${sub}i${port}`
}

/** Reads the kernel package in `parts`. */
export async function readKernel(parts: string): Promise<Kernel> {
  const folder = join(parts, 'kernel/usr/lib/modules', await kernelVersion(parts))
  const byName = new Map<string, Set<string>>()
  const patterns: { readonly kind: string; readonly pattern: RegExp; readonly module: string }[] = []
  for (const line of (await readFile(join(folder, 'modules.alias'), 'utf8')).split('\n')) {
    const [, alias = '', module = ''] = line.split(' ')
    const name = /^of:N\*T\*C([^*]+?)(C\*)?$/.exec(alias)?.[1]
    if (name !== undefined) byName.set(name, (byName.get(name) ?? new Set()).add(module))
    else if (/^(platform|mdio|usb|pci|sdio):/.test(alias))
      patterns.push({ kind: alias.slice(0, alias.indexOf(':')), pattern: globOf(alias), module })
  }
  const [image] = (await readdir(join(parts, 'kernel/boot'))).filter(file => file.startsWith('vmlinuz-'))
  const code = await readFile(join(parts, 'kernel/boot', image!))
  return {
    modulesFor(modalias) {
      if (modalias.startsWith('of:C')) return [...(byName.get(modalias.slice(4)) ?? [])]
      const kind = modalias.slice(0, modalias.indexOf(':'))
      return [
        ...new Set(patterns.filter(row => row.kind === kind && row.pattern.test(modalias)).map(row => row.module)),
      ]
    },
    // A built-in driver has no alias in the package, but its match table is in the kernel image.
    knows: compatible => code.includes(`\0${compatible}\0`),
  }
}

/** A pattern of fnmatch(3), limited to what modules.alias uses. */
function globOf(alias: string): RegExp {
  const text = alias
    .replace(/[.+^$(){}|\\]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.')
  return new RegExp(`^${text}$`)
}

/** The device tree of a board in the kernel package. */
export async function readTree(parts: string, board: Board): Promise<readonly TreeNode[]> {
  return readDeviceTree(await readFile(await treeFile(parts, board)))
}

/** Where it lies. */
export async function treeFile(parts: string, { tree }: Pick<Board, 'tree'>): Promise<string> {
  const lib = join(parts, 'kernel/usr/lib')
  const [kernel] = (await readdir(lib)).filter(name => name.startsWith('linux-image-'))
  return join(lib, kernel!, 'broadcom', `${tree}.dtb`)
}

/** The modules in the image's two lists and `more`, those of layers, with their dependencies. */
export async function loadedModules(parts: string, more: readonly string[] = []): Promise<Loaded> {
  const names = async (list: string, added: readonly string[] = []): Promise<readonly string[]> => {
    const lines = [...linesOf(list), ...added]
    const files = await moduleFiles(
      parts,
      lines.map(line => line.split(' ')[0]!),
    )
    return files.map(file =>
      basename(file)
        .replace(/\.ko.*$/, '')
        .replaceAll('-', '_'),
    )
  }
  return { initramfs: await names('initramfs/modules.txt'), root: await names('modules.txt', more) }
}

/** `more`: the modules of layers; radios are looked at where these have the driver of one. Errors: a board in image/boards.txt lacks a driver. */
export async function checkBoards(parts: string, more: readonly string[] = []): Promise<void> {
  const lists = ['boards.txt', 'modules.txt', 'initramfs/modules.txt'].map(name => linesOf(name))
  const program = await contentOf(
    ...['boards', 'device-tree'].map(name => fileURLToPath(new URL(`./${name}.js`, import.meta.url))),
  )
  await cached('boards', [parts, lists, more, program], async () => {
    const [kernel, loaded] = await Promise.all([readKernel(parts), loadedModules(parts, more)])
    const missing: string[] = []
    for (const board of readBoards(
      undefined,
      more.some(line => line.split(' ')[0] === RADIO),
    ))
      missing.push(...missingDrivers(board, await readTree(parts, board), kernel, loaded))
    if (missing.length > 0)
      throw new Error(`kernel modules are missing; add them to the lists in image/:\n${missing.join('\n')}`)
  })
}
