/** One node of a flattened device tree. */
export interface TreeNode {
  readonly path: string
  readonly parent?: TreeNode
  readonly children: TreeNode[]
  readonly properties: Map<string, Buffer>
}

const [BEGIN_NODE, END_NODE, PROPERTY, NOP, END] = [1, 2, 3, 4, 9]
const MAGIC = 0xd00dfeed

/** The nodes of a device tree blob, the root first (Devicetree Specification v0.4, "Flattened Devicetree (DTB) Format"). Errors: not such a blob. Pure. */
export function readDeviceTree(blob: Buffer): readonly TreeNode[] {
  if (blob.length < 40 || blob.readUInt32BE(0) !== MAGIC) throw new Error('not a device tree blob')
  const strings = blob.readUInt32BE(12)
  const nodes: TreeNode[] = []
  let open: TreeNode | undefined
  for (let at = blob.readUInt32BE(8); ; ) {
    const token = blob.readUInt32BE(at)
    at += 4
    if (token === BEGIN_NODE) {
      const name = textAt(blob, at)
      at += aligned(name.length + 1)
      const path = open === undefined ? '' : `${open.path}/${name}`
      const node: TreeNode = { path, ...(open && { parent: open }), children: [], properties: new Map() }
      open?.children.push(node)
      nodes.push(node)
      open = node
    } else if (token === PROPERTY && open !== undefined) {
      const length = blob.readUInt32BE(at)
      const name = textAt(blob, strings + blob.readUInt32BE(at + 4))
      open.properties.set(name, blob.subarray(at + 8, at + 8 + length))
      at += 8 + aligned(length)
    } else if (token === END_NODE) open = open?.parent
    else if (token === END) return nodes
    else if (token !== NOP) throw new Error(`device tree blob: unknown token ${token} at ${at - 4}`)
  }
}

/** Whether the node and all its ancestors are enabled. Pure. */
export function isEnabled(node: TreeNode | undefined): boolean {
  if (node === undefined) return true
  const status = textsOf(node, 'status')[0] ?? 'okay'
  return (status === 'okay' || status === 'ok') && isEnabled(node.parent)
}

/** A property that is a list of texts. Pure. */
export function textsOf(node: TreeNode, property: string): readonly string[] {
  const value = node.properties.get(property)?.toString('latin1') ?? ''
  return value.split('\0').filter(text => text !== '')
}

/** A property that is a list of 32-bit cells. Pure. */
function cellsOf(node: TreeNode, property: string): readonly number[] {
  const value = node.properties.get(property) ?? Buffer.alloc(0)
  return Array.from({ length: Math.floor(value.length / 4) }, (_, i) => value.readUInt32BE(i * 4))
}

/** Properties that name suppliers as phandle and arguments, and the supplier's property with the number of arguments. */
const LISTS: Readonly<Record<string, string>> = {
  clocks: '#clock-cells',
  dmas: '#dma-cells',
  gpios: '#gpio-cells',
  'interrupts-extended': '#interrupt-cells',
  mboxes: '#mbox-cells',
  'nvmem-cells': '#nvmem-cell-cells',
  phys: '#phy-cells',
  'power-domains': '#power-domain-cells',
  pwms: '#pwm-cells',
  resets: '#reset-cells',
}
const SINGLE = /^(firmware|interrupt-parent|mmc-pwrseq|phy-handle|usb-phy|.+-supply|pinctrl-\d+)$/

/**
 * The nodes that a node's driver waits for: those its properties refer to, as the kernel's fw_devlink reads them
 * (drivers/of/property.c), and its parent. Pure.
 */
export function suppliersOf(node: TreeNode, byPhandle: ReadonlyMap<number, TreeNode>): readonly TreeNode[] {
  const found = new Set<TreeNode>()
  if (node.parent !== undefined) found.add(node.parent)
  for (const property of node.properties.keys()) {
    const arguments_ = LISTS[property] ?? (/-gpios?$/.test(property) ? '#gpio-cells' : undefined)
    if (arguments_ === undefined && !SINGLE.test(property)) continue
    const cells = cellsOf(node, property)
    for (let i = 0; i < cells.length; ) {
      const supplier = byPhandle.get(cells[i]!)
      if (supplier !== undefined) found.add(supplier)
      i += 1 + (arguments_ === undefined || supplier === undefined ? 0 : (cellsOf(supplier, arguments_)[0] ?? 0))
    }
  }
  if (node.properties.has('interrupts')) {
    for (let above: TreeNode | undefined = node; above !== undefined; above = above.parent) {
      const controller = byPhandle.get(cellsOf(above, 'interrupt-parent')[0] ?? 0)
      if (controller === undefined) continue
      found.add(controller)
      break
    }
  }
  return [...found]
}

/** The nodes that others can refer to. Pure. */
export function phandles(nodes: readonly TreeNode[]): ReadonlyMap<number, TreeNode> {
  return new Map(nodes.flatMap(node => cellsOf(node, 'phandle').map(phandle => [phandle, node] as const)))
}

const aligned = (bytes: number): number => (bytes + 3) & ~3

function textAt(blob: Buffer, at: number): string {
  return blob.toString('latin1', at, blob.indexOf(0, at))
}
