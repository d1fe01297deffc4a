import { type FileHandle, open } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer, type Server } from 'node:https'
import { join } from 'node:path'
import { requestedRange } from '../bench/content/ranges.ts'

const PIECE = 262_144

/**
 * Serves the files of a folder as a good server does: at next to no cost for a request. The bench's own server, made for
 * faults, spends half of a race on itself.
 */
export function fastServer(dir: string, tls: { readonly key: string; readonly cert: string }): Server {
  const files = new Map<string, Promise<{ readonly file: FileHandle; readonly size: number }>>()
  const opened = (path: string) => {
    const known = files.get(path)
    if (known) return known
    const opening = open(join(dir, path)).then(async file => ({ file, size: (await file.stat()).size }))
    files.set(path, opening)
    return opening
  }

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { file, size } = await opened(decodeURIComponent(request.url ?? ''))
    const range = requestedRange(request.headers.range, size)
    const { start, end } = typeof range === 'string' ? { start: 0, end: size } : range
    const place = typeof range === 'string' ? {} : { 'Content-Range': `bytes ${start}-${end - 1}/${size}` }
    response.writeHead(typeof range === 'string' ? 200 : 206, {
      'Content-Length': end - start,
      ETag: `"${size}"`,
      ...place,
    })
    const pieces = [Buffer.allocUnsafe(PIECE), Buffer.allocUnsafe(PIECE)]
    for (let at = start; at < end && !response.destroyed; ) {
      const piece = pieces.reverse()[0]!
      const { bytesRead } = await file.read(piece, 0, Math.min(PIECE, end - at), at)
      at += bytesRead
      await new Promise<void>(resolve => {
        response.once('close', resolve)
        response.write(piece.subarray(0, bytesRead), () => resolve(void response.off('close', resolve)))
      })
    }
    response.end()
  }

  return createServer(tls, (request, response) => void answer(request, response).catch(() => response.destroy()))
}
