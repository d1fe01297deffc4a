import { randomUUID } from 'node:crypto'
import { stat } from 'node:fs/promises'
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join, normalize } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { body, Cut } from './body.ts'
import { type Fault, type Faults, takeFault } from './faults.ts'
import { type ByteRange, requestedRange } from './ranges.ts'

export interface ContentServerOptions {
  /** The folder whose files are served; nothing outside of it ever is. */
  readonly dir: string
  /** PEM texts. Without them the server speaks plain HTTP, as the real service does by default. */
  readonly tls?: { readonly key: string | Buffer; readonly cert: string | Buffer }
  /** Default: a free port. */
  readonly port?: number
  /** The name in the addresses; it is what the certificate must be for. */
  readonly host?: string
}

/** What has been fetched of one file. */
export interface FileStats {
  requests: number
  /** Body bytes handed to the connection. */
  bytesSent: number
  /** Connections that a `cutAfter` has dropped. */
  cuts: number
}

/** The place where payload files of deployments lie. */
export interface ContentServer {
  /** The address of a file below the folder. */
  url(path: string): string
  readonly port: number
  /** By path below the folder; files never asked for are missing. */
  readonly stats: Record<string, FileStats>
  /** Filled in by tests. */
  readonly faults: Faults
  close(): Promise<void>
}

export async function startContentServer(options: ContentServerOptions): Promise<ContentServer> {
  const { dir, tls, port = 0, host = 'localhost' } = options
  const stats: Record<string, FileStats> = {}
  const faults: Faults = {}
  const listener: RequestListener = (request, response) => {
    answer(dir, faults, stats, request, response).catch(() => response.destroy())
  }
  const server = tls ? createHttpsServer({ key: tls.key, cert: tls.cert }, listener) : createHttpServer(listener)
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', resolve))
  const bound = (server.address() as AddressInfo).port
  const origin = `${tls ? 'https' : 'http'}://${host}:${bound}`
  return {
    url: path => `${origin}/${path.split('/').map(encodeURIComponent).join('/')}`,
    port: bound,
    stats,
    faults,
    close: () => closed(server),
  }
}

async function answer(
  dir: string,
  faults: Faults,
  stats: Record<string, FileStats>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const path = servedPath(request.url ?? '/')
  const file = path === undefined ? undefined : await stat(join(dir, path)).catch(() => undefined)
  if (request.method !== 'GET' && request.method !== 'HEAD') return end(response, 405, { Allow: 'GET, HEAD' })
  if (path === undefined || !file?.isFile()) return end(response, 404)
  stats[path] ??= { requests: 0, bytesSent: 0, cuts: 0 }
  const counted = stats[path]
  counted.requests += 1
  const fault = takeFault(faults, path)
  if (fault.status !== undefined) {
    return end(response, fault.status, fault.retryAfter !== undefined ? { 'Retry-After': fault.retryAfter } : {})
  }
  if (fault.redirect !== undefined) return end(response, 302, { Location: fault.redirect })

  const size = Math.min(file.size, fault.truncateAt ?? file.size) + extraBytes(fault)
  const etag = fault.etag === 'changing' ? `"${randomUUID()}"` : (fault.etag ?? `"${file.size}-${file.mtimeMs}"`)
  const ifRange = request.headers['if-range']
  const asked = fault.noRanges || (ifRange !== undefined && ifRange !== etag) ? undefined : request.headers.range
  const range = requestedRange(asked, size)
  const headers = {
    'Content-Type': 'application/octet-stream',
    'Last-Modified': file.mtime.toUTCString(),
    ETag: etag,
    ...(!fault.noRanges && { 'Accept-Ranges': 'bytes' }),
    ...(fault.encoding !== undefined && { 'Content-Encoding': fault.encoding }),
  }
  if (range === 'unsatisfiable') return end(response, 416, { ...headers, 'Content-Range': `bytes */${size}` })
  const part: ByteRange = range === 'whole' ? { start: 0, end: size } : range
  const length = fault.extraBytes === 'endless' && part.end === size ? {} : { 'Content-Length': part.end - part.start }
  const place = range === 'whole' ? {} : { 'Content-Range': contentRange(part, size, fault) }
  response.writeHead(range === 'whole' ? 200 : 206, { ...headers, ...length, ...place })
  if (request.method === 'HEAD') return void response.end()

  const gone = new AbortController()
  response.once('close', () => gone.abort())
  const sent = body(join(dir, path), shifted(part, fault), Math.min(file.size, size), fault, gone.signal)
  await pipeline(Readable.from(countedBytes(sent, counted), { objectMode: false }), response)
}

/** The path below the folder; undefined for anything that would leave it. */
function servedPath(url: string): string | undefined {
  try {
    const path = normalize(decodeURIComponent(url.split('?', 1)[0]!)).replace(/^\/+/, '')
    return path === '' || path.includes('\0') || path.split('/').includes('..') ? undefined : path
  } catch {
    return undefined // an escape that means nothing
  }
}

// An endless file is one that nobody lives to see the end of.
function extraBytes(fault: Fault): number {
  return fault.extraBytes === 'endless' ? Number.MAX_SAFE_INTEGER / 2 : (fault.extraBytes ?? 0)
}

function contentRange({ start, end }: ByteRange, size: number, { wrongRange }: Fault): string {
  const by = wrongRange === 'start' ? 1 : 0
  return `bytes ${start + by}-${end - 1 + by}/${wrongRange === 'length' ? size + 1 : size}`
}

function shifted(range: ByteRange, { wrongRange }: Fault): ByteRange {
  if (wrongRange !== 'shifted') return range
  const by = range.start > 0 ? -1 : 1
  return { start: range.start + by, end: range.end + by }
}

async function* countedBytes(chunks: AsyncIterable<Buffer>, counted: FileStats) {
  try {
    for await (const chunk of chunks) {
      yield chunk
      counted.bytesSent += chunk.length
    }
  } catch (error) {
    if (error instanceof Cut) counted.cuts += 1
    throw error
  }
}

function end(response: ServerResponse, status: number, headers: Record<string, string | number> = {}): void {
  response.writeHead(status, { 'Content-Length': 0, ...headers }).end()
}

function closed(server: Server | ReturnType<typeof createHttpsServer>): Promise<void> {
  return new Promise(resolve => {
    server.close(() => resolve())
    server.closeAllConnections()
  })
}
