import type { Disk } from '../../src/adapters/files/disk.ts'

/** Files in memory that outlive a power cut. One that is cut off in the midst of a write has half of its content. */
export class MemoryDisk implements Disk {
  readonly files = new Map<string, Buffer>()

  async read(file: string): Promise<Buffer | undefined> {
    return this.files.get(file)
  }

  async write(file: string, content: string | Buffer): Promise<void> {
    this.files.set(file, Buffer.from(content))
  }

  async rename(from: string, to: string): Promise<void> {
    await this.copy(from, to)
    this.files.delete(from)
  }

  async copy(from: string, to: string): Promise<void> {
    const content = this.files.get(from)
    if (!content) throw Object.assign(new Error(`no such file: ${from}`), { code: 'ENOENT' })
    this.files.set(to, content)
  }
}

/** What becomes of files: cut off, filled with zeros, one bit of it turned, gone. */
export const DAMAGE: Readonly<Record<string, (content: Buffer) => Buffer | undefined>> = {
  'cut off': content => content.subarray(0, content.length / 2),
  empty: () => Buffer.alloc(0),
  'filled with zeros': content => Buffer.concat([content.subarray(0, 64), Buffer.alloc(content.length)]),
  rotten: content => {
    const turned = Buffer.from(content)
    turned[40] = (turned[40] ?? 0) ^ 1
    return turned
  },
  gone: () => undefined,
}

export function damage(disk: MemoryDisk, file: string, how: (content: Buffer) => Buffer | undefined): void {
  const content = disk.files.get(file)
  if (!content) return
  const damaged = how(content)
  if (damaged) disk.files.set(file, damaged)
  else disk.files.delete(file)
}

/** `good`, cut off before each byte, and with one bit of each byte turned. */
export function* damagedAnywhere(good: Buffer): Generator<{ readonly at: number; readonly bad: Buffer }> {
  for (let at = 0; at < good.length; at++) {
    yield { at, bad: good.subarray(0, at) }
    const bad = Buffer.from(good)
    bad[at] = (bad[at] ?? 0) ^ (1 << (at % 8))
    yield { at, bad }
  }
}
