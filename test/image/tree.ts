/** A node: texts, cells, or children. An empty list is a property without a value. */
export interface Tree {
  readonly [name: string]: string | readonly number[] | Tree
}

/** A device tree blob (Devicetree Specification v0.4, "Flattened Devicetree (DTB) Format"). */
export function blobOf(tree: Tree): Buffer {
  const structure: Buffer[] = []
  const names: string[] = []
  const cell = (value: number): Buffer => {
    const buffer = Buffer.alloc(4)
    buffer.writeUInt32BE(value)
    return buffer
  }
  const padded = (buffer: Buffer): Buffer => Buffer.concat([buffer, Buffer.alloc(-buffer.length & 3)])
  const write = (name: string, node: Tree): void => {
    structure.push(cell(1), padded(Buffer.from(`${name}\0`)))
    for (const [key, value] of Object.entries(node)) {
      if (typeof value === 'object' && !Array.isArray(value)) continue
      const content =
        typeof value === 'string' ? Buffer.from(`${value}\0`) : Buffer.concat((value as number[]).map(cell))
      const at = names.join('').length
      names.push(`${key}\0`)
      structure.push(cell(3), cell(content.length), cell(at), padded(content))
    }
    for (const [key, value] of Object.entries(node))
      if (typeof value === 'object' && !Array.isArray(value)) write(key, value as Tree)
    structure.push(cell(2))
  }
  write('', tree)
  const body = Buffer.concat([...structure, cell(9)])
  const header = [0xd00dfeed, 0, 40, 40 + body.length, 0, 17, 16, 0, names.join('').length, body.length]
  return Buffer.concat([...header.map(cell), body, Buffer.from(names.join(''))])
}
