import { Agent, request } from 'node:https'
import type { Duplex } from 'node:stream'
import tls from 'node:tls'
import { ContentError, messageOf } from '../../domain/errors.ts'
import type { Hosts } from '../../domain/hosts.ts'
import type { LogPlace, OpenBlob } from '../../ports/log-upload.ts'
import { isPassing } from '../http/answer.ts'
import { onlyTo, openTunnel, type Proxies, tlsOptions, trustedStore } from '../http/route.ts'

export interface StorageOptions {
  readonly ca: string | undefined
  readonly proxies: Proxies
  readonly hosts: Hosts
}

/** Version of the storage's REST interface; each later one takes it too. */
const VERSION = '2021-08-06'
/** Milliseconds for one block, which is 64 KiB. */
const PATIENCE = 60_000
/** Requests to a blob of Azure Storage. The URL holds a signature, so no message has more of it than the host. */
export function openBlob({ container, blob }: LogPlace, options: StorageOptions, signal: AbortSignal): OpenBlob {
  const { ca, proxies, hosts } = options
  const trusted = trustedStore(ca)
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  Object.assign(agent, {
    createConnection(_: unknown, done: (error: Error | null, socket?: Duplex) => void): void {
      const { hostname: host, port } = container
      const lookup = onlyTo(address => hosts.allowsAddress(address, container))
      openTunnel(container, proxies, signal).then(
        socket =>
          done(
            null,
            tls.connect({ ...tlsOptions(container, trusted), ...(socket ? { socket } : { host, port, lookup }) }),
          ),
        error => done(error),
      )
    },
  })
  const [path = '', sas = ''] = container.target.split(/\?(.*)/s)
  const name = blob.split('/').map(encodeURIComponent).join('/')
  const put: OpenBlob['put'] = (query, body, more) =>
    new Promise((resolve, reject) => {
      const headers = { 'x-ms-version': VERSION, 'Content-Length': body.length, ...more }
      const target = `${path}/${name}?${query}${sas && `&${sas}`}`
      const fail = (cause: Error): void =>
        reject(signal.aborted ? signal.reason : failure(`${container.host}: ${messageOf(cause)}`, true, cause))
      const { hostname, port } = container
      const limit = AbortSignal.any([signal, AbortSignal.timeout(PATIENCE)])
      const sent = request({ agent, hostname, port, path: target, method: 'PUT', headers, signal: limit }, answer => {
        answer.resume().on('error', fail)
        answer.on('end', () => {
          const { statusCode = 0 } = answer
          if (statusCode === 201) resolve()
          else reject(failure(`${container.host} answered ${statusCode}`, isPassing(statusCode)))
        })
      })
      sent.on('error', fail).end(body)
    })
  return { put, close: () => agent.destroy() }
}

const failure = (why: string, passing: boolean, cause?: unknown): ContentError =>
  new ContentError(why, passing ? 'backOff' : 'never', { code: 'LOGS_UPLOAD', cause })
