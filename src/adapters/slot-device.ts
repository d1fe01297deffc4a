import { type FileHandle, open, readFile, realpath, stat } from 'node:fs/promises'
import { basename } from 'node:path'
import { AgentError, messageOf } from '../domain/errors.ts'
import { declaredImage, MAX_HEAD_BYTES } from './bundle-head.ts'

/** In bytes; undefined when the device is not there. A block device has its size in sysfs, in sectors of 512 bytes. */
export async function slotSize(device: string): Promise<number | undefined> {
  const seen = await stat(device).catch(() => undefined)
  if (!seen?.isBlockDevice()) return seen?.size
  const sectors = await readFile(`/sys/class/block/${basename(await realpath(device))}/size`, 'utf8').catch(() => '')
  return sectors === '' ? undefined : Number(sectors) * 512
}

/**
 * The same bundle, when the slot has room for its image; else it throws before anybody has seen a byte of it.
 * Errors: AgentError `SPACE`, with both numbers.
 */
export async function* preflight(bundle: AsyncIterable<Buffer>, device: string): AsyncGenerator<Buffer> {
  let head = Buffer.alloc(0)
  let known = false
  for await (const piece of bundle) {
    if (known) {
      yield piece
      continue
    }
    head = Buffer.concat([head, piece])
    const image = declaredImage(head)
    if (image === 'more' && head.length < MAX_HEAD_BYTES) continue
    const room = await slotSize(device)
    if (image !== 'more' && image && room !== undefined && image.bytes > room) {
      throw new AgentError('SPACE', `${image.name} has ${image.bytes} bytes, the slot ${device} has room for ${room}`)
    }
    known = true
    yield head
  }
  if (!known) yield head
}

/**
 * A slot to be synced, undefined when there is no such device. A write that fails later, in the background, is told once to
 * each file that was open by then (fsync(2)): to be sure to hear of it, open before the first byte is written. Only for
 * reading: udev(7) looks anew at a device whenever somebody who could write has closed it. Errors: AgentError `SLOT`.
 */
export async function openSlot(device: string): Promise<FileHandle | undefined> {
  try {
    return await open(device, 'r')
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new AgentError('SLOT', `the slot ${device} cannot be opened: ${messageOf(cause)}`, { cause })
  }
}

/** Returns when all that was written to the slot is on it. Errors: AgentError `SLOT`. */
export async function syncSlot(slot: FileHandle, device: string): Promise<void> {
  try {
    await slot.sync()
  } catch (cause) {
    throw new AgentError('SLOT', `the slot ${device} cannot be written to the disk: ${messageOf(cause)}`, { cause })
  }
}
