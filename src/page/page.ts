import type { IncomingMessage, ServerResponse } from 'node:http'
import { PassThrough, type Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Answer } from '../control/protocol.ts'
import { messageOf } from '../domain/errors.ts'
import type { Log } from '../ports/log.ts'
import { HTML } from './assets/html.ts'
import { SCRIPT } from './assets/script.ts'
import { STYLE } from './assets/style.ts'
import { Feed, type Source } from './feed.ts'
import { objectionTo, PinCheck } from './guard.ts'
import { type Listening, serveHttp } from './server.ts'
import type { PageState } from './state.ts'

/** What the page shows, and what it may order. */
export interface Device extends Source {
  state(): PageState
  consent(): Promise<Answer>
  /** Writes the support bundle to `out`, and ends it. Rejects with why not. */
  bundle(out: Writable, signal: AbortSignal): Promise<void>
}

export interface PageOptions extends Listening {
  /** Undefined: the page is read-only. */
  readonly pin: string | undefined
  /** Host names in small letters by which browsers may reach it, beside IP addresses. */
  readonly names: readonly string[]
  /** Seconds of a clock that does not jump. */
  readonly now: () => number
}

/** Bytes of a form. */
const MAX_FORM = 512

/** Milliseconds without a byte of a support bundle: a program that it asks may be silent for as long. */
const BUNDLE_SILENCE = 300_000

/** No script, style, picture or frame of anybody else; and nobody may show this page in a frame. */
const HEADERS = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  'x-frame-options': 'DENY',
  'x-content-type-options': 'nosniff',
  'cross-origin-resource-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
  // Not "no-referrer": a form would have the Origin "null" with it.
  'referrer-policy': 'same-origin',
  'cache-control': 'no-cache',
} as const

export const setHeaders = (response: ServerResponse): void => {
  for (const [name, value] of Object.entries(HEADERS)) response.setHeader(name, value)
}

/** `[type, content]` of each path. */
export type Assets = Readonly<Record<string, readonly [type: string, content: string]>>

export const STYLES: Assets = { '/style.css': ['text/css', STYLE] }

const ASSETS: Assets = { '/': ['text/html', HTML], '/script.js': ['text/javascript', SCRIPT], ...STYLES }

/** Serves the local page. Returns a function that ends it. */
export function servePage(device: Device, options: PageOptions, log: Log): () => void {
  const names = new Set(options.names)
  const pins = options.pin === undefined ? undefined : new PinCheck(options.pin, options.now)
  const feed = new Feed(device, log)
  const over = new AbortController()
  let bundling = false

  const end = serveHttp(
    options,
    async (request, response) => {
      setHeaders(response)
      const objection = objectionTo(request, names)
      if (objection) return say(response, objection.status, objection.why)
      const { method = '', url = '' } = request
      const order = { '/consent': consent, '/bundle': bundle }[url]
      if (order) {
        if (method !== 'POST') return say(response, 405, 'use POST', { allow: 'POST' })
        if (await mayOrder(request, response)) await order(request, response)
        return
      }
      show(request, response, ASSETS, device, feed)
    },
    log,
  )
  return () => {
    over.abort()
    feed.end()
    end()
  }

  async function mayOrder(request: IncomingMessage, response: ServerResponse): Promise<boolean> {
    const form = await formOf(request)
    if (form === undefined) {
      say(response, 413, 'the form is too long', { connection: 'close' })
      return false
    }
    if (!pins) {
      say(response, 403, 'this page is read-only: piAdu.page.pin is not set')
      return false
    }
    const verdict = pins.check(form.get('pin') ?? '')
    if (verdict.is === 'right') return true
    // What comes while nobody may try could fill the log.
    if (verdict.is === 'wrong' || verdict.began)
      log.warn('page.pin-refused', { from: request.socket.remoteAddress, ...verdict })
    if (verdict.is === 'wrong') say(response, 403, 'the PIN is wrong')
    else {
      const { seconds } = verdict
      say(response, 429, `too many wrong PINs: try again in ${seconds} s`, { 'retry-after': String(seconds) })
    }
    return false
  }

  async function consent(_: IncomingMessage, response: ServerResponse): Promise<void> {
    const answer = await device.consent()
    if ('done' in answer) say(response, 200, answer.done)
    else say(response, 409, answer.error)
  }

  async function bundle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (bundling) return say(response, 409, 'a support bundle is being made already: wait for its end')
    bundling = true
    log.info('page.bundle', { to: request.socket.remoteAddress })
    request.socket.setTimeout(BUNDLE_SILENCE)
    const gone = new AbortController()
    response.once('close', () => gone.abort())
    try {
      const piece = new PassThrough()
      const made = device.bundle(piece, AbortSignal.any([gone.signal, over.signal]))
      // Until the first byte a failure can be said.
      const begun = new Promise<void>(resolve => void piece.once('readable', resolve))
      try {
        await Promise.race([begun, made])
      } catch (error) {
        return say(response, 500, messageOf(error))
      }
      const name = `pi-adu-${device.state().host}-${new Date().toISOString().slice(0, 10)}.tar.gz`
      response.setHeader('content-type', 'application/gzip')
      response.setHeader('content-disposition', `attachment; filename="${name.replace(/[^\w.-]/g, '_')}"`)
      // After that a failure ends the connection, so that a part is never taken for the whole.
      await Promise.all([pipeline(piece, response), made])
    } catch (error) {
      log.warn('page.bundle-failed', { why: messageOf(error) })
      response.destroy()
    } finally {
      bundling = false
    }
  }
}

/** Answers a request that changes nothing: with an asset, the state or its events. */
export function show(
  { method, url = '' }: IncomingMessage,
  response: ServerResponse,
  assets: Assets,
  source: Source,
  feed: Feed,
): void {
  const asset = Object.hasOwn(assets, url) ? assets[url] : undefined
  if (method !== 'GET' && method !== 'HEAD') say(response, 405, 'use GET', { allow: 'GET, HEAD' })
  else if (url === '/state') sendAsset(response, ['application/json', `${JSON.stringify(source.state())}\n`])
  else if (url === '/events' && method === 'GET') feed.add(response)
  else if (asset) sendAsset(response, asset)
  else say(response, 404, 'there is nothing here')
}

/** One sentence. */
export function say(response: ServerResponse, status: number, why: string, headers: Record<string, string> = {}): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8', ...headers }).end(`${why}\n`)
}

function sendAsset(response: ServerResponse, [type, content]: readonly [string, string]): void {
  const body = Buffer.from(content)
  response.writeHead(200, { 'content-type': `${type}; charset=utf-8`, 'content-length': body.length }).end(body)
}

/** The fields of a posted form; undefined when it is too long. */
export async function formOf(request: IncomingMessage): Promise<URLSearchParams | undefined> {
  let text = ''
  for await (const chunk of request) {
    text += String(chunk)
    if (text.length > MAX_FORM) return undefined
  }
  return new URLSearchParams(text)
}
