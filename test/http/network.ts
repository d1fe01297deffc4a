import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo, Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, type TestContext } from 'node:test'
import { HttpContent, type HttpOptions } from '../../src/adapters/http/content.ts'
import { FEW, fetchFile } from '../../src/delivery/fetch.ts'
import type { ContentOrigin } from '../../src/ports/content.ts'
import { ensureCertificates } from '../bench/hub/certs.ts'
import { pseudoRandom } from '../bench/workbench/root-tree.ts'
import { ANYWHERE } from './anywhere.ts'

export const file = pseudoRandom(300_000, 'networks')
const dir = await mkdtemp(join(tmpdir(), 'networks-'))
export const certificates = await ensureCertificates(join(dir, 'certs'))
after(() => rm(dir, { recursive: true }))

export const FEW_PAUSES = FEW - 1
export const HOUR = 3_600_000

export const DIRECT = { httpProxy: undefined, httpsProxy: undefined, noProxy: [] }

interface Options extends Partial<HttpOptions> {
  readonly rangeBytes?: number
  readonly origin?: ContentOrigin
}

/** What a download comes to, and how it got there; pauses take no time, but count. */
export async function download(
  url: string,
  { ca = certificates.ca, stall = 5_000, rangeBytes = 65_536, origin = 'twin', ...network }: Options = {},
) {
  let now = 0
  let pauses = 0
  let sleeps = 0
  const clock = {
    monotonic: () => now,
    async sleep(ms: number, signal: AbortSignal) {
      // The limit for the whole download comes first. It must not be what makes the time pass.
      if (sleeps++ === 0)
        return new Promise<void>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
      now += ms
      pauses += 1
    },
    random: () => 0.5,
    now: () => new Date(),
  }
  const log = { debug() {}, info() {}, warn() {}, error() {} }
  const content = new HttpContent({ ca, stall, ...DIRECT, hosts: ANYWHERE, ...network })
  const pieces: Buffer[] = []
  let error: { code?: string; message?: string } = {}
  try {
    const never = new AbortController().signal
    for await (const piece of fetchFile(
      { content, clock, log },
      { url, origin, size: file.length },
      { rangeBytes, timeout: HOUR },
      never,
    )) {
      pieces.push(Buffer.from(piece))
    }
  } catch (caught) {
    error = caught as Error
  }
  return {
    ...error,
    message: error.message ?? '',
    code: error.code,
    whole: Buffer.concat(pieces).equals(file),
    ms: now,
    pauses,
  }
}

export async function serve(t: TestContext, server: Server): Promise<number> {
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.close())
  return (server.address() as AddressInfo).port
}

/** A server on this machine that counts requests. */
export async function site(t: TestContext, listener: RequestListener) {
  const counted = { requests: 0, url: '' }
  const server = createServer((request, response) => {
    counted.requests += 1
    listener(request, response)
  })
  counted.url = `http://127.0.0.1:${await serve(t, server)}/file`
  t.after(() => server.closeAllConnections())
  return counted
}

export const good: RequestListener = (request, response) => {
  const [, first, last] = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? '')!.map(Number) as [number, number, number]
  const range = `bytes ${first}-${last}/${file.length}`
  response.writeHead(206, { 'Content-Range': range, 'Content-Length': last - first + 1, ETag: '"1"' })
  response.end(file.subarray(first, last + 1))
}
