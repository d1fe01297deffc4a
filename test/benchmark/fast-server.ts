import { readFile } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer, type Server } from 'node:https'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { requestedRange } from '../bench/content/ranges.ts'

const PIECE = 262_144

/** Payload of TCP on gigabit Ethernet (MTU 1500, with timestamps), the fastest network of any Pi, in bytes per second. */
export const GIGABIT = 117_675_000
/** What a line that was idle for a moment may catch up, in milliseconds: timers are late. */
const LATE = 20

/** Waits until `bytes` are through a line of this rate. */
function line(bytesPerSecond: number): (bytes: number) => Promise<void> {
  let free = 0
  return async bytes => {
    free = Math.max(free, performance.now() - LATE) + (bytes / bytesPerSecond) * 1000
    const wait = free - performance.now()
    if (wait >= 1) await sleep(wait)
  }
}

/**
 * Serves the files of a folder, each from memory after its first request. A real server has a machine of its own; this one shares the
 * cores with the contenders, so each second of its work counts against all of them. The bench's own server, made for faults, is dearer.
 * `bytesPerSecond`: of all answers together. Default: as fast as it can.
 */
export function fastServer(
  dir: string,
  tls: { readonly key: string; readonly cert: string },
  bytesPerSecond = Number.POSITIVE_INFINITY,
): Server {
  const through = line(bytesPerSecond)
  const files = new Map<string, Promise<Buffer>>()
  const content = (path: string): Promise<Buffer> => {
    const reading = files.get(path) ?? readFile(join(dir, path))
    files.set(path, reading)
    return reading
  }

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const bytes = await content(decodeURIComponent(request.url ?? ''))
    const range = requestedRange(request.headers.range, bytes.length)
    const { start, end } = typeof range === 'string' ? { start: 0, end: bytes.length } : range
    const place = typeof range === 'string' ? {} : { 'Content-Range': `bytes ${start}-${end - 1}/${bytes.length}` }
    response.writeHead(typeof range === 'string' ? 200 : 206, {
      'Content-Length': end - start,
      ETag: `"${bytes.length}"`,
      ...place,
    })
    // curl of SWUpdate asks for the size first; the pieces of a body that nobody gets would still take the time of the line.
    if (request.method === 'HEAD') return void response.end()
    for (let at = start; at < end && !response.destroyed; at += PIECE) {
      await new Promise<void>(resolve => {
        response.once('close', resolve)
        const piece = bytes.subarray(at, Math.min(at + PIECE, end))
        response.write(piece, () => resolve(void response.off('close', resolve)))
      })
      await through(Math.min(PIECE, end - at))
    }
    response.end()
  }

  return createServer(tls, (request, response) => void answer(request, response).catch(() => response.destroy()))
}
