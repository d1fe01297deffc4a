import { type FileHandle, mkdir, open, symlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { INLET } from '../../bundle/policy.ts'
import { AgentError, messageOf } from '../../domain/errors.ts'
import type { SlotName } from '../../domain/slot.ts'
import type { Log } from '../../ports/log.ts'
import { run } from '../system/exec.ts'
import { fromFifo, writeChanges } from './slot-writer.ts'
import { lastWrite, slotSize } from './storage.ts'

/** Timeout in milliseconds, for programs that take almost no time. */
const TOOL_WITHIN = 60_000

/** The path of an image from SWUpdate into its slot. */
export interface Inlet {
  /** Aborted when the slot cannot be written; SWUpdate would then wait for ever. Reason: AgentError `SLOT`, `SPACE`. */
  readonly failed: AbortSignal
  /** SWUpdate opens the device itself. */
  readonly direct: boolean
  /** Call after SWUpdate has ended. Resolves when the kernel has all it wrote. Errors: AgentError `SLOT`, `SPACE`. */
  end(): Promise<void>
  /** Changes while SWUpdate or the slot makes progress, also in the write-back to a slow card. */
  position(): Promise<string>
  /** Whether SWUpdate wrote anything to the slot, also by its device's name. Call after the slot is synced. */
  used(): Promise<boolean>
}

export interface InletOptions {
  /** The working folder of SWUpdate. */
  readonly folder: string
  readonly slot: SlotName
  readonly device: string
}

/** SWUpdate writes to the device itself. */
export async function directInlet({ folder, slot, device }: InletOptions): Promise<Inlet> {
  await symlink(device, await place(folder, slot))
  const before = await lastWrite(device)
  return {
    failed: new AbortController().signal,
    direct: true,
    async end() {},
    position: () => lastWrite(device),
    used: async () => (await lastWrite(device)) !== before,
  }
}

/**
 * SWUpdate writes to a FIFO, and from there only new blocks go to the slot. If a bundle names the device directly, SWUpdate
 * writes it itself and the FIFO stays unused. Errors: AgentError `SLOT`, `WORK_FOLDER`.
 */
export async function comparingInlet(
  { folder, slot, device }: InletOptions,
  log: Log,
  signal: AbortSignal,
): Promise<Inlet> {
  const fifo = await place(folder, slot)
  await run(['mkfifo', fifo], { signal, timeout: TOOL_WITHIN, code: 'WORK_FOLDER' })
  // After a failed background write the page cache differs from the device, so it must not be used to compare.
  const forget = ['dd', `if=${device}`, 'iflag=nocache', 'count=0', 'status=none'] as const
  await run(forget, { signal, timeout: TOOL_WITHIN, code: 'SLOT' })
  const before = await lastWrite(device)
  const file = await opened(device)
  const failed = new AbortController()
  let passed = 0
  let received = 0
  const room = await slotSize(device)
  const writing = writeChanges(fitting(counted(), device, room), file, error => {
    log.warn('slot.unreadable', { device, why: messageOf(error) })
  }).then(
    tally => {
      received = tally.written + tally.kept
      if (received > 0) log.info('slot.compared', { slot, ...tally })
    },
    cause => {
      const text = `the slot ${device} cannot be written: ${messageOf(cause)}`
      failed.abort(cause instanceof AgentError ? cause : new AgentError('SLOT', text, { cause }))
    },
  )
  let ended: Promise<void> | undefined
  return {
    failed: failed.signal,
    direct: false,
    end() {
      ended ??= end()
      return ended
    },
    position: async () => `${passed} ${await lastWrite(device)}`,
    used: async () => received > 0 || (await lastWrite(device)) !== before,
  }

  async function* counted(): AsyncGenerator<Buffer> {
    for await (const piece of fromFifo(fifo)) {
      passed += piece.length
      yield piece
    }
  }

  async function end(): Promise<void> {
    try {
      // If nobody has written, closing this end sends the reader EOF.
      await (await open(fifo, 'r+').catch(() => undefined))?.close()
      await writing
    } finally {
      await file.close()
    }
    failed.signal.throwIfAborted()
  }
}

/** The unpacked size may be known only here. Errors: AgentError `SPACE`, before a byte beyond the slot's end. */
async function* fitting(image: AsyncIterable<Buffer>, device: string, room = Infinity): AsyncGenerator<Buffer> {
  let bytes = 0
  for await (const piece of image) {
    bytes += piece.length
    if (bytes > room) {
      throw new AgentError('SPACE', `the image has more than ${room} bytes, the slot ${device} has room for no more`)
    }
    yield piece
  }
}

async function place(folder: string, slot: SlotName): Promise<string> {
  const path = join(folder, INLET[slot])
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
