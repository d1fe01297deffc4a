import type { OutgoingHttpHeaders } from 'node:http'
import { request } from 'node:https'
import type { BenchHub } from '../bench/hub/hub.ts'

export interface RestReply {
  readonly status: number
  readonly headers: Record<string, string | string[] | undefined>
  readonly text: string
  // biome-ignore lint/suspicious/noExplicitAny: tests look into it as they like
  readonly body: any
}

/** One REST call without the SDK, as the owner unless `headers` say otherwise. */
export function rest(
  hub: BenchHub,
  method: string,
  path: string,
  { body, headers = {} }: { body?: unknown; headers?: OutgoingHttpHeaders } = {},
): Promise<RestReply> {
  const content = body === undefined ? '' : typeof body === 'string' ? body : JSON.stringify(body)
  return new Promise((resolve, reject) => {
    const call = request(
      {
        host: 'localhost',
        port: hub.restPort,
        path: `${path}${path.includes('?') ? '&' : '?'}api-version=2021-04-12`,
        method,
        ca: hub.ca,
        agent: false,
        headers: { authorization: hub.authorization(), 'content-length': Buffer.byteLength(content), ...headers },
      },
      async response => {
        try {
          const text = (await response.toArray()).join('')
          const { statusCode = 0, headers } = response
          resolve({ status: statusCode, headers, text, body: text ? JSON.parse(text) : undefined })
        } catch (error) {
          reject(error)
        }
      },
    )
    call.on('error', reject)
    call.end(content)
  })
}
