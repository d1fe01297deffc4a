import { type FileHandle, mkdir, open, symlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { AgentError, messageOf } from '../domain/errors.ts'
import type { SlotName } from '../domain/slot.ts'
import type { Log } from '../ports.ts'
import { run } from './exec.ts'
import { fromFifo, writeChanges } from './slot-writer.ts'

/** Where SWUpdate writes a slot's image to, in the folder that it runs in: the name that bundles give the slot. */
const NAME: Readonly<Record<SlotName, string>> = { a: 'pi-adu/a', b: 'pi-adu/b' }

/** In milliseconds, of programs that take none. */
const TOOL_WITHIN = 60_000

/** The way of an image from SWUpdate into its slot. */
export interface Inlet {
  /** Aborted when the slot does not take what comes: SWUpdate then waits for ever. Reason: AgentError `SLOT`. */
  readonly failed: AbortSignal
  /** To be called when SWUpdate is gone. Resolves when all it wrote is with the kernel. Errors: AgentError `SLOT`. */
  end(): Promise<void>
}

export interface InletOptions {
  /** That SWUpdate runs in. */
  readonly folder: string
  readonly slot: SlotName
  readonly device: string
}

/** SWUpdate writes to the device itself. */
export async function directInlet({ folder, slot, device }: InletOptions): Promise<Inlet> {
  await symlink(device, await place(folder, slot))
  return { failed: new AbortController().signal, async end() {} }
}

/**
 * SWUpdate writes to a FIFO, and what the slot does not hold yet is written from there. A bundle that names the device by
 * another name is not held up: then nothing comes. Errors: AgentError `SLOT`, `WORK_FOLDER`.
 */
export async function comparingInlet(
  { folder, slot, device }: InletOptions,
  log: Log,
  signal: AbortSignal,
): Promise<Inlet> {
  const fifo = await place(folder, slot)
  await run(['mkfifo', fifo], { signal, timeout: TOOL_WITHIN, code: 'WORK_FOLDER' })
  // After a write that failed in the background the page cache holds what the device does not: it must not be compared with.
  const forget = ['dd', `if=${device}`, 'iflag=nocache', 'count=0', 'status=none'] as const
  await run(forget, { signal, timeout: TOOL_WITHIN, code: 'SLOT' })
  const file = await opened(device)
  const failed = new AbortController()
  const writing = writeChanges(fromFifo(fifo), file, error => {
    log.warn('slot.unreadable', { device, why: messageOf(error) })
  }).then(
    tally => {
      if (tally.written + tally.kept > 0) log.info('slot.compared', { slot, ...tally })
    },
    cause =>
      failed.abort(new AgentError('SLOT', `the slot ${device} cannot be written: ${messageOf(cause)}`, { cause })),
  )
  let ended: Promise<void> | undefined
  return {
    failed: failed.signal,
    end() {
      ended ??= end()
      return ended
    },
  }

  async function end(): Promise<void> {
    try {
      // Where nobody has written, this is the writer that goes.
      await (await open(fifo, 'r+').catch(() => undefined))?.close()
      await writing
    } finally {
      await file.close()
    }
    failed.signal.throwIfAborted()
  }
}

async function place(folder: string, slot: SlotName): Promise<string> {
  const path = join(folder, NAME[slot])
  await mkdir(dirname(path), { recursive: true })
  return path
}

async function opened(device: string): Promise<FileHandle> {
  try {
    return await open(device, 'r+')
  } catch (cause) {
    throw new AgentError('SLOT', `the slot ${device} cannot be opened: ${messageOf(cause)}`, { cause })
  }
}
