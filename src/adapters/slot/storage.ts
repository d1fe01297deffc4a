import { readdir, readFile, realpath, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'

/** The target of a path, with links resolved. Numbers are `major:minor`, as in /proc/self/mountinfo. */
export interface Found {
  readonly kind: 'block' | 'file' | 'other'
  /** The device's own number, for `block`. */
  readonly number: string
  /** The file system that the path is in, and the inode there. */
  readonly fileSystem: string
  readonly inode: string
}

export interface Mount {
  readonly fileSystem: string
  readonly source: string
  readonly at: string
}

/** What a block device consists of; empty for a device that the kernel does not know. */
export interface Below {
  /** Number of the disk that it is a partition of. */
  readonly disk?: string
  /** Numbers of the devices below a device mapper or RAID device. */
  readonly parts: readonly string[]
  /** File behind a loop device. */
  readonly file?: string
}

/** The kernel's view of disks, files and mounts, read on each call. Never throws: missing things are undefined or empty. */
export interface Storage {
  find(path: string): Promise<Found | undefined>
  below(number: string): Promise<Below>
  /** Undefined when the mount table cannot be read. */
  mounts(): Promise<readonly Mount[] | undefined>
  /** Paths of swap files and devices. */
  swaps(): Promise<readonly string[]>
  /** Loop devices that have a file. */
  loops(): Promise<readonly { readonly name: string; readonly file: string }[]>
}

export const systemStorage: Storage = {
  async find(path) {
    const seen = await stat(path, { bigint: true }).catch(() => undefined)
    if (!seen) return undefined
    const kind = seen.isBlockDevice() ? 'block' : seen.isFile() ? 'file' : 'other'
    return { kind, number: numberOf(seen.rdev), fileSystem: numberOf(seen.dev), inode: String(seen.ino) }
  },

  async below(number) {
    const device = await realpath(`/sys/dev/block/${number}`).catch(() => undefined)
    if (device === undefined) return { parts: [] }
    const slaves = await readdir(join(device, 'slaves')).catch(() => [])
    const parts = await Promise.all(slaves.map(name => textOf(join(device, 'slaves', name, 'dev'))))
    const disk = (await textOf(join(device, 'partition'))) && (await textOf(join(dirname(device), 'dev')))
    const file = await textOf(join(device, 'loop/backing_file'))
    return { parts: parts.filter(Boolean), ...(disk && { disk }), ...(file && { file }) }
  },

  async mounts() {
    const table = await textOf('/proc/self/mountinfo')
    return table === '' ? undefined : mountsIn(table)
  },

  async swaps() {
    const [, ...lines] = (await textOf('/proc/swaps')).split('\n')
    return lines.map(line => unescaped(line.split(/\s/, 1)[0] ?? '')).filter(Boolean)
  },

  async loops() {
    const names = (await readdir('/sys/block').catch(() => [])).filter(name => name.startsWith('loop'))
    const all = names.map(async name => ({
      name: `/dev/${name}`,
      file: await textOf(`/sys/block/${name}/loop/backing_file`),
    }))
    return (await Promise.all(all)).filter(({ file }) => file !== '')
  },
}

/** proc_pid_mountinfo(5): fields up to ` - ` vary in number. */
export function mountsIn(text: string): Mount[] {
  return text.split('\n').flatMap(line => {
    const [before = '', after = ''] = line.split(' - ')
    const [, , fileSystem, , at] = before.split(' ')
    if (fileSystem === undefined || at === undefined) return []
    return [{ fileSystem, at: unescaped(at), source: unescaped(after.split(' ')[1] ?? '') }]
  })
}

/** In bytes; undefined for a missing device, or neither block device nor file. sysfs has sizes in sectors of 512 bytes. */
export async function slotSize(device: string): Promise<number | undefined> {
  const seen = await stat(device, { bigint: true }).catch(() => undefined)
  if (seen?.isFile()) return Number(seen.size)
  if (!seen?.isBlockDevice()) return undefined
  const sectors = await textOf(`/sys/dev/block/${numberOf(seen.rdev)}/size`)
  return sectors === '' ? undefined : Number(sectors) * 512
}

/**
 * A value that changes when written data has reached the device: for a block device the sectors written since boot (kernel,
 * Documentation/block/stat), for a file the time of its last change.
 */
export async function lastWrite(device: string): Promise<string> {
  const seen = await stat(device, { bigint: true }).catch(() => undefined)
  if (!seen?.isBlockDevice()) return String(seen?.mtimeNs)
  return (await textOf(`/sys/dev/block/${numberOf(seen.rdev)}/stat`)).split(/\s+/)[6] ?? ''
}

/** makedev(3), as glibc packs it. */
function numberOf(device: bigint): string {
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & ~0xfffn)
  const minor = (device & 0xffn) | ((device >> 12n) & 0xffffff00n)
  return `${major}:${minor}`
}

/** Space, tab, newline and backslash are octal there. */
const unescaped = (text: string): string =>
  text.replace(/\\([0-7]{3})/g, (_, digits) => String.fromCharCode(Number.parseInt(digits, 8)))

const textOf = async (file: string): Promise<string> => (await readFile(file, 'utf8').catch(() => '')).trim()
