import { constants } from 'node:fs'
import { type FileHandle, open, stat } from 'node:fs/promises'
import { AgentError, messageOf } from '../../domain/errors.ts'
import { useOf } from './slot-in-use.ts'
import type { Storage } from './storage.ts'

/**
 * Opens a slot for a later sync; undefined when the device does not exist. A failed background write is reported once to each
 * file that is open at that time (fsync(2)), so open it before the first byte is written. It is opened for reading only,
 * because udev(7) probes a device whenever a writer closes it. Errors: AgentError `SLOT`.
 */
export async function openSlot(device: string): Promise<FileHandle | undefined> {
  try {
    return await open(device, 'r')
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new AgentError('SLOT', `the slot ${device} cannot be opened: ${messageOf(cause)}`, { cause })
  }
}

/**
 * As `openSlot`, for the duration of a write. A block device is claimed (open(2), O_EXCL): nobody can mount it meanwhile, and a
 * mounted device cannot be claimed, even if the mount table does not show it. Errors: AgentError `SLOT`, `SLOT_IN_USE`.
 */
export async function claimSlot(device: string, storage: Storage): Promise<FileHandle | undefined> {
  const inUse = (why: string, cause?: unknown): AgentError => {
    const text = `the slot ${device} is in use (${why}), so nothing was written: check piAdu.slots in du-config.json`
    return new AgentError('SLOT_IN_USE', text, { cause })
  }
  const seen = await stat(device).catch(() => undefined)
  if (!seen?.isBlockDevice()) {
    const use = await useOf(device, storage)
    if (use !== undefined) throw inUse(use)
    return openSlot(device)
  }
  let slot: FileHandle
  try {
    slot = await open(device, constants.O_RDONLY | constants.O_EXCL)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EBUSY') {
      throw new AgentError('SLOT', `the slot ${device} cannot be opened: ${messageOf(cause)}`, { cause })
    }
    throw inUse((await useOf(device, storage)) ?? 'mounted or claimed by another program', cause)
  }
  // A loop device can lie on a device that is in use without a claim.
  const use = await useOf(device, storage)
  if (use === undefined) return slot
  await slot.close()
  throw inUse(use)
}

/** Returns when everything written to the slot is on the disk. Errors: AgentError `SLOT`. */
export async function syncSlot(slot: FileHandle, device: string): Promise<void> {
  try {
    await slot.sync()
  } catch (cause) {
    throw new AgentError('SLOT', `the slot ${device} cannot be written to the disk: ${messageOf(cause)}`, { cause })
  }
}
