import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { join } from 'node:path'

/** What may be done with a signature: c create, w write, r read. */
type Rights = 'cw' | 'r' | 'rcw'

export type Blobs = Awaited<ReturnType<typeof openBlobs>>

const CONTAINER = 'bench-blobs'
const VERSION = '2021-08-06'
const MOST_BYTES = 64 << 20

/**
 * A local stand-in for one container of Azure Storage, on the hub's REST port: Put Blob, Put Block, Put Block List and Get Blob, with a shared
 * access signature. `dir` keeps the blobs.
 */
export async function openBlobs(dir: string, origin: () => string) {
  await mkdir(dir, { recursive: true })
  const key = randomBytes(32)
  const blocks = new Map<string, Map<string, Buffer>>()
  const stats = { blocks: 0, blobs: 0, open: 0, mostOpen: 0, largest: 0 }
  const fileOf = (blob: string): string => join(dir, encodeURIComponent(blob))

  const sign = (blob: string, se: string, sp: string): string =>
    createHmac('sha256', key).update(`${blob}\n${se}\n${sp}`).digest('base64')

  /** Starts with `?`. `blob`: for this one only. */
  function sas(rights: Rights, { blob = '', seconds = 3600 }: { blob?: string; seconds?: number } = {}): string {
    const se = new Date(Date.now() + seconds * 1000).toISOString().slice(0, 19)
    const query = {
      sv: VERSION,
      se: `${se}Z`,
      sr: blob === '' ? 'c' : 'b',
      sp: rights,
      sig: sign(blob, `${se}Z`, rights),
    }
    return `?${new URLSearchParams(query)}`
  }

  function allows(blob: string, query: URLSearchParams, wanted: string): boolean {
    const [se = '', sp = '', sig = ''] = ['se', 'sp', 'sig'].map(name => query.get(name) ?? '')
    const signed = Buffer.from(sign(query.get('sr') === 'b' ? blob : '', se, sp))
    const given = Buffer.from(sig)
    return (
      signed.length === given.length &&
      timingSafeEqual(signed, given) &&
      Date.parse(se) > Date.now() &&
      sp.includes(wanted)
    )
  }

  async function store(blob: string, bytes: Buffer): Promise<void> {
    await writeFile(`${fileOf(blob)}.part`, bytes)
    await rename(`${fileOf(blob)}.part`, fileOf(blob))
    stats.blobs += 1
  }

  async function put(blob: string, query: URLSearchParams, request: IncomingMessage): Promise<number> {
    const body = await bytesOf(request)
    if (body === undefined) return 413
    const kept = blocks.get(blob) ?? new Map<string, Buffer>()
    switch (query.get('comp')) {
      case 'block':
        blocks.set(blob, kept.set(query.get('blockid') ?? '', body))
        stats.blocks += 1
        stats.largest = Math.max(stats.largest, body.length)
        return 201
      case 'blocklist': {
        const ids = [...body.toString().matchAll(/<(?:Latest|Uncommitted)>([^<]+)</g)].map(match => match[1] ?? '')
        if (ids.some(id => !kept.has(id))) return 400
        await store(blob, Buffer.concat(ids.map(id => kept.get(id) ?? Buffer.alloc(0))))
        blocks.delete(blob)
        return 201
      }
      case null:
        if (request.headers['x-ms-blob-type'] !== 'BlockBlob') return 400
        await store(blob, body)
        return 201
      default:
        return 501
    }
  }

  async function respond(request: IncomingMessage, response: ServerResponse, path: string): Promise<void> {
    const query = new URL(request.url ?? '', origin()).searchParams
    const blob = decodeURIComponent(path.slice(CONTAINER.length + 2))
    const answer = (status: number, body: Buffer | string = ''): void => {
      const headers = { 'x-ms-version': VERSION, 'x-ms-request-id': 'bench', 'Content-Length': Buffer.byteLength(body) }
      const found = status < 300 ? { ETag: '"0x1"', 'Last-Modified': new Date().toUTCString() } : {}
      response.writeHead(status, { ...headers, ...found }).end(body)
    }
    if (blob === '') return answer(400)
    if (!allows(blob, query, request.method === 'GET' ? 'r' : 'w')) return answer(403)
    if (request.method === 'GET') {
      const bytes = await readFile(fileOf(blob)).catch(() => undefined)
      return bytes ? answer(200, bytes) : answer(404)
    }
    if (request.method !== 'PUT') return answer(405)
    stats.open += 1
    stats.mostOpen = Math.max(stats.mostOpen, stats.open)
    try {
      answer(await put(blob, query, request))
    } finally {
      stats.open -= 1
    }
  }

  return {
    container: CONTAINER,
    sas,
    stats,
    /** A container's URL as the service sends it. */
    url: (rights: Rights = 'rcw', seconds?: number): string =>
      `${origin()}/${CONTAINER}${sas(rights, seconds === undefined ? {} : { seconds })}`,
    has: (blob: string): boolean => existsSync(fileOf(blob)),
    read: (blob: string): Promise<Buffer> => readFile(fileOf(blob)),
    /** True when it has taken the request. */
    answer(request: IncomingMessage, response: ServerResponse, path: string): boolean {
      if (!path.startsWith(`/${CONTAINER}/`)) return false
      respond(request, response, path).catch(() => response.destroy())
      return true
    },
  }
}

async function bytesOf(request: IncomingMessage): Promise<Buffer | undefined> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request) {
    size += chunk.length
    if (size <= MOST_BYTES) chunks.push(chunk)
  }
  return size > MOST_BYTES ? undefined : Buffer.concat(chunks)
}
