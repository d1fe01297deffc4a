import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import type { Duplex } from 'node:stream'
import type { Certificates } from './certs.ts'
import { asHubError, HubError, invalidArgument, restBody } from './errors.ts'
import { moduleId } from './ids.ts'
import { type Listener, listenLoopback } from './listen.ts'
import { ASK_FOR_CERTIFICATE } from './mqtt-server.ts'
import { authorize, type PolicyKeys } from './policies.ts'
import { notFound, type RestAnswer, type RestHub, type Route } from './routes.ts'
import { decoded } from './sas.ts'

export interface RestServerOptions extends RestHub {
  readonly port: number
  readonly certificates: Certificates
  readonly hosts: readonly string[]
  readonly policies: PolicyKeys
  readonly routes: readonly Route[]
  readonly log: (line: string) => void
  /** Of the provisioning service, which shares the port: true when it has taken the request. */
  readonly other: (request: IncomingMessage, response: ServerResponse, path: string) => boolean
  readonly onUpgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => void
}

const MAX_BODY_BYTES = 1024 * 1024
/** Well above the interval of pollers, which would otherwise see ECONNRESET from time to time. */
const KEEP_ALIVE_MS = 65_000

/** HTTPS for services, and the door for WebSockets of devices. The mechanics only; what can be asked is in the routes. */
export async function startRestServer(options: RestServerOptions): Promise<Listener> {
  const { key, cert } = options.certificates
  const server = createServer(
    { key, cert, ...ASK_FOR_CERTIFICATE, keepAliveTimeout: KEEP_ALIVE_MS },
    (request, response) => {
      answer(request, response, options).catch(error => {
        options.log(`REST: ${error}`)
        response.destroy()
      })
    },
  )
  server.on('upgrade', options.onUpgrade)
  server.on('clientError', (_, socket) => socket.destroy())
  server.on('tlsClientError', error => options.log(`TLS: ${error.message}`))
  return await listenLoopback(options.port, socket => server.emit('connection', socket))
}

async function answer(request: IncomingMessage, response: ServerResponse, options: RestServerOptions): Promise<void> {
  const path = (request.url ?? '').split('?')[0]!
  const fault = path.startsWith('/bench/')
    ? undefined // else a hub with a lasting fault could not be healed
    : options.faults.take('failRest', undefined, ({ path: prefix = '' }) => path.startsWith(prefix))
  if (fault?.how === 'hang') return
  if (fault?.how === 'reset') {
    request.socket.destroy()
    return
  }
  try {
    if (fault?.how === 'lose') {
      // The work is done; its answer is never sent.
      if (options.other(request, Object.assign(response, { end: () => request.socket.destroy() }), path)) return
      await respond(request, path, options)
      request.socket.destroy()
      return
    }
    if (!fault && options.other(request, response, path)) return
    if (fault) throw new HubError(Number(fault.how), Number(fault.how) * 1000 + 1, 'Fault', 'an injected fault')
    send(response, await respond(request, path, options))
  } catch (error) {
    const refusal = asHubError(error, options.log)
    send(response, { status: refusal.status, text: restBody(refusal) })
  }
}

async function respond(request: IncomingMessage, path: string, options: RestServerOptions): Promise<RestAnswer> {
  const found = findRoute(request.method ?? '', path, options.routes)
  // A caller without rights learns nothing of what exists.
  authorize(request.headers.authorization, found?.route.needs ?? 'ServiceConnect', options.policies, options.hosts)
  if (!found) throw notFound(`${request.method} ${path}`)
  const query = new URL(request.url!, 'https://bench').searchParams
  const header = (name: string) => {
    const value = request.headers[name]
    return Array.isArray(value) ? value[0] : value
  }
  const body = await readBody(request)
  return await found.route.handle({ method: request.method!, id: found.id, query, header, body }, options)
}

function findRoute(method: string, path: string, routes: readonly Route[]) {
  const segments = path.split('/')
  for (const route of routes) {
    const wanted = route.path.split('/')
    if (route.method !== method || wanted.length !== segments.length) continue
    if (!wanted.every((part, at) => part === '{id}' || part === '{module}' || part === segments[at])) continue
    const [id, module] = ['{id}', '{module}'].map(part => decoded(segments[wanted.indexOf(part)] ?? ''))
    // A slash would make a device of a module.
    if (id === undefined || module === undefined || `${id}${module}`.includes('/')) continue
    return { route, id: module ? moduleId(id, module) : id }
  }
  return undefined
}

/** Parsed JSON; undefined without a body. Rejects with HubError: 413, 400. */
export async function readBody(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request) {
    size += chunk.length
    if (size > MAX_BODY_BYTES) throw new HubError(413, 413001, 'RequestEntityTooLarge', 'the body is above 1 MiB')
    chunks.push(chunk)
  }
  if (size === 0) return undefined
  try {
    return JSON.parse(Buffer.concat(chunks).toString())
  } catch {
    throw invalidArgument('the body is not JSON')
  }
}

export function send(response: ServerResponse, { status, body, text, headers }: RestAnswer & { text?: string }): void {
  const content = text ?? (body === undefined ? '' : JSON.stringify(body))
  response.writeHead(status, {
    ...(content && { 'Content-Type': 'application/json; charset=utf-8' }),
    'Content-Length': Buffer.byteLength(content),
    ...headers,
  })
  response.end(content)
}
