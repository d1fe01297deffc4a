import { AgentError } from '../domain/errors.ts'
import { type Hosts, hostComplaint } from '../domain/hosts.ts'
import { isObject, member } from '../domain/members.ts'
import { type WebUrl, webUrl } from '../domain/web-url.ts'

/** The results of a log collection (PROTOCOL.md, "Log collection"). */
export const LOG_RESULT = {
  uploaded: 200,
  failed: 0,
  uploadFailed: -2,
  urlBad: -4,
  off: -5,
  noOperation: -6,
  noUrl: -7,
} as const

/** A request to upload the logs, or why it cannot be carried out. */
export interface LogRequest {
  /** Empty when the request has none that can be used. */
  readonly operationId: string
  readonly container?: WebUrl
  readonly refused?: { readonly resultCode: number; readonly error: AgentError }
}

/** Ids become a part of the blob's name. */
const ID = /^(?!\.)[\w.-]{1,128}$/

/** Undefined where the desired properties ask for nothing. `hosts`: where logs may go. Never throws, and never quotes the URL. */
export function readLogRequest(desired: unknown, hosts: Hosts): LogRequest | undefined {
  const service = member(member(desired, 'diagnosticInformation'), 'service')
  if (!isObject(service)) return undefined
  const { operationId, storageSasUrl } = service
  const refuse = (id: string, resultCode: number, why: string): LogRequest => {
    const error = new AgentError('LOGS_REQUEST', `the request for logs cannot be carried out: ${why}`)
    return { operationId: id, refused: { resultCode, error } }
  }
  if (operationId === undefined) return refuse('', LOG_RESULT.noOperation, 'it has no operationId')
  if (typeof operationId !== 'string' || !ID.test(operationId)) {
    return refuse('', LOG_RESULT.noOperation, 'its operationId is not a name of A-Z a-z 0-9 . _ -')
  }
  if (storageSasUrl === undefined) return refuse(operationId, LOG_RESULT.noUrl, 'it has no storageSasUrl')
  const { url, flaw } = webUrl(storageSasUrl)
  const bad = (why: string): LogRequest => refuse(operationId, LOG_RESULT.urlBad, why)
  if (!url) return bad(`its storageSasUrl ${flaw}`)
  if (!url.secure) return bad('its storageSasUrl does not begin with https:')
  if (!/^\/[^/?]+(?:\?|$)/.test(url.target))
    return bad('its storageSasUrl does not name a container: https://HOST/CONTAINER?…')
  const { host, hostname } = url
  const refusal = hosts.refusal(url, true)
  return refusal ? bad(hostComplaint(hosts, host, hostname, refusal)) : { operationId, container: url }
}
