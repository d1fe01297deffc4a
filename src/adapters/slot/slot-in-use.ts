import { resolve } from 'node:path'
import type { SlotName } from '../../domain/slot.ts'
import type { Found, Mount, Storage } from './storage.ts'

/**
 * A place that bytes can be written to. `id` identifies the storage itself, so two names of one place have the same `id`; a loop
 * device counts as the file or device behind it. `below` lists everything that it lies on.
 */
interface Place {
  readonly id: string
  readonly below: readonly string[]
}

/**
 * Why nothing may be written to `device`, such as "mounted at /"; undefined when it is not in use. Compares device numbers and
 * inodes, so another name, a bind mount, a loop device or a device mapper makes no difference.
 */
export async function useOf(device: string, storage: Storage): Promise<string | undefined> {
  const found = await storage.find(device)
  if (!found || found.kind === 'other') return undefined
  const mounts = await storage.mounts()
  if (!mounts) return 'nobody can say by whom: /proc/self/mountinfo cannot be read'
  const target = await placeOf(found, storage)
  for (const { path, use } of await pathsInUse(found, mounts, storage)) {
    const other = await storage.find(path)
    if (other && other.kind !== 'other' && overlap(target, await placeOf(other, storage))) return use
  }
  for (const { fileSystem, at } of [...mounts, ...(await root(storage))]) {
    if (overlap(target, await devicePlace(fileSystem, storage))) return `mounted at ${at}`
  }
  return undefined
}

/** Whether a write to one slot would change the other. For a missing device only the path can be compared. */
export async function sameStorage(devices: Readonly<Record<SlotName, string>>, storage: Storage): Promise<boolean> {
  if (resolve(devices.a) === resolve(devices.b)) return true
  const [a, b] = await Promise.all([storage.find(devices.a), storage.find(devices.b)])
  if (!a || !b || a.kind === 'other' || b.kind === 'other') return false
  return overlap(await placeOf(a, storage), await placeOf(b, storage))
}

/**
 * Uses that are known by path: the source of a mount without its own device number, like btrfs; swap; a file that is mounted on
 * another file or has a loop device.
 */
async function pathsInUse(
  target: Found,
  mounts: readonly Mount[],
  storage: Storage,
): Promise<{ path: string; use: string }[]> {
  const sources = mounts.filter(({ source, fileSystem }) => source.startsWith('/') && fileSystem.startsWith('0:'))
  // Only mounts of the target's own file system can be the target under another name; looking at others may hang.
  const files = target.kind === 'file' ? mounts.filter(({ fileSystem }) => fileSystem === target.fileSystem) : []
  const loops = target.kind === 'file' ? await storage.loops() : []
  return [
    ...sources.map(({ source, at }) => ({ path: source, use: `mounted at ${at}` })),
    ...(await storage.swaps()).map(path => ({ path, use: 'used as swap' })),
    ...files.map(({ at }) => ({ path: at, use: `mounted at ${at}` })),
    ...loops.map(({ name, file }) => ({ path: file, use: `the file behind ${name}` })),
  ]
}

/** The mount table of a container may not name its root. */
async function root(storage: Storage): Promise<{ fileSystem: string; at: string }[]> {
  const found = await storage.find('/')
  return found ? [{ fileSystem: found.fileSystem, at: '/' }] : []
}

/** Siblings, like two volumes of one group, share a disk but do not overlap. */
const overlap = (one: Place, other: Place): boolean =>
  one.id === other.id || one.below.includes(other.id) || other.below.includes(one.id)

async function placeOf(found: Found, storage: Storage): Promise<Place> {
  return found.kind === 'block'
    ? devicePlace(found.number, storage)
    : { id: `file ${found.fileSystem} ${found.inode}`, below: [] }
}

async function devicePlace(number: string, storage: Storage): Promise<Place> {
  const { disk, parts, file } = await storage.below(number)
  const behind = file === undefined ? undefined : await storage.find(file)
  if (behind && behind.kind !== 'other') return placeOf(behind, storage)
  const lower = await Promise.all([...(disk ? [disk] : []), ...parts].map(each => devicePlace(each, storage)))
  return { id: number, below: lower.flatMap(({ id, below }) => [id, ...below]) }
}
