import { readFile } from 'node:fs/promises'
import { run } from '../../../image/builder/run.ts'
import { boardArguments, type MachineOptions } from '../../../image/qemu/machine.ts'

/**
 * Writes the device tree of this emulated board to `path`, with the serial number that a real board's firmware puts there.
 * QEMU takes it with `-dtb`.
 */
export async function treeWithSerial(
  options: Pick<MachineOptions, 'disk' | 'firmware'>,
  path: string,
  serial: string,
): Promise<Buffer> {
  const argv = [...boardArguments({ board: 'virt', ...options }), '-machine', `dumpdtb=${path}`, '-display', 'none']
  await run(['qemu-system-aarch64', ...argv])
  return withRootText(await readFile(path), 'serial-number', serial)
}

const BEGIN_NODE = 1
const PROPERTY = 3
/** The header of version 17, and the root node's empty name, padded. */
const HEADER = 40
const ROOT_NAME = 4

/** The tree with one more text property in its root node (Devicetree Specification v0.4, "Flattened Devicetree (DTB) Format"). */
function withRootText(tree: Buffer, name: string, text: string): Buffer {
  const field = (index: number): number => tree.readUInt32BE(4 * index)
  const [structAt, stringsAt, reservedAt, stringsSize, structSize] = [2, 3, 4, 8, 9].map(field) as Five
  const struct = tree.subarray(structAt, structAt + structSize)
  if (field(5) !== 17 || struct.readUInt32BE(0) !== BEGIN_NODE) throw new Error('a device tree of an unknown form')
  const value = Buffer.from(`${text}\0`)
  const property = Buffer.alloc(12 + 4 * Math.ceil(value.length / 4))
  property.writeUInt32BE(PROPERTY, 0)
  property.writeUInt32BE(value.length, 4)
  property.writeUInt32BE(stringsSize, 8)
  value.copy(property, 12)
  const strings = Buffer.concat([tree.subarray(stringsAt, stringsAt + stringsSize), Buffer.from(`${name}\0`)])
  // A list that ends with an empty entry of 16 bytes.
  let reservedEnd = reservedAt
  while (tree.readBigUInt64BE(reservedEnd + 8) !== 0n) reservedEnd += 16
  const reserved = tree.subarray(reservedAt, reservedEnd + 16)
  const begin = 4 + ROOT_NAME
  const newStruct = Buffer.concat([struct.subarray(0, begin), property, struct.subarray(begin)])
  const starts = [HEADER, HEADER + reserved.length, HEADER + reserved.length + newStruct.length] as const
  const header = Buffer.from(tree.subarray(0, HEADER))
  const set = (index: number, value: number): unknown => header.writeUInt32BE(value, 4 * index)
  set(1, starts[2] + strings.length)
  set(2, starts[1])
  set(3, starts[2])
  set(4, starts[0])
  set(8, strings.length)
  set(9, newStruct.length)
  return Buffer.concat([header, reserved, newStruct, strings])
}

type Five = [number, number, number, number, number]
