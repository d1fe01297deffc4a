import { createReadStream } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Fault } from './faults.ts'
import type { ByteRange } from './ranges.ts'

/** Drop the connection here. */
export class Cut extends Error {}

const CHUNK_BYTES = 64 << 10

/** The bytes of an answer, with what the fault does to them. Throws `Cut` where the connection drops; ends at abort. */
export async function* body(path: string, range: ByteRange, size: number, fault: Fault, signal: AbortSignal) {
  let sent = 0
  for await (const chunk of paced(bytes(path, range, size, fault), fault.bytesPerSecond, signal)) {
    const limit = Math.min(fault.cutAfter ?? Infinity, fault.stallAfter ?? Infinity)
    if (sent + chunk.length < limit) {
      sent += chunk.length
      yield chunk
      continue
    }
    yield chunk.subarray(0, limit - sent)
    if (limit === fault.cutAfter) throw new Cut()
    await new Promise<void>(resolve => signal.addEventListener('abort', () => resolve(), { once: true }))
    return
  }
}

/** The file's bytes in the range, then what a too long file adds. */
async function* bytes(path: string, range: ByteRange, size: number, fault: Fault): AsyncGenerator<Buffer> {
  const fromFile = Math.min(range.end, size)
  let at = range.start
  if (at < fromFile) {
    for await (const chunk of createReadStream(path, { start: at, end: fromFile - 1, highWaterMark: CHUNK_BYTES })) {
      yield flipped(chunk as Buffer, at, fault.flipByteAt)
      at += (chunk as Buffer).length
    }
  }
  for (; at < range.end; at += CHUNK_BYTES) yield Buffer.alloc(Math.min(CHUNK_BYTES, range.end - at), 0xee)
}

function flipped(chunk: Buffer, at: number, position: number | undefined): Buffer {
  if (position === undefined || position < at || position >= at + chunk.length) return chunk
  const copy = Buffer.from(chunk)
  copy[position - at]! ^= 0xff
  return copy
}

async function* paced(chunks: AsyncIterable<Buffer>, bytesPerSecond: number | undefined, signal: AbortSignal) {
  if (bytesPerSecond === undefined) return yield* chunks
  const piece = Math.max(1, Math.ceil(bytesPerSecond / 20))
  for await (const chunk of chunks) {
    for (let at = 0; at < chunk.length; at += piece) {
      const part = chunk.subarray(at, at + piece)
      yield part
      await sleep((part.length / bytesPerSecond) * 1000, undefined, { signal }).catch(() => undefined)
      if (signal.aborted) return
    }
  }
}
