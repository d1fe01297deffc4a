import { idFlaw, isHost } from '../../domain/hub-names.ts'
import { isObject } from '../../domain/members.ts'
import { onOneLine } from '../../domain/terminal.ts'
import { cut } from '../../domain/text.ts'
import type { Outcome } from './onboarding.ts'

/** An answer of the provisioning service as received, unchecked. */
export interface Answer {
  readonly status: number
  /** From the topic; not necessarily a number of seconds. */
  readonly retryAfter: string | undefined
  readonly payload: Buffer
}

/** Accepted but not decided: poll again after `wait` milliseconds. */
export interface Assigning {
  readonly is: 'assigning'
  readonly operationId: string
  readonly wait: number
}

/** Real answers have a few hundred bytes, with an issued chain a few thousand. */
const MAX_BYTES = 65_536
const MAX_OPERATION = 512
const MAX_SAID = 300
/** Milliseconds to wait if the service names no time. */
const DEFAULT_WAIT = 3000
/** A device that waited longer would be lost, and Node's timers end at 24 days (PROTOCOL.md, "Retry-after"). */
const MAX_WAIT = 3_600_000

/** What an answer to a registration or to a poll means (PROTOCOL.md, "Answers of the provisioning service"). Pure; never throws. */
export function readAnswer({ status, retryAfter, payload }: Answer): Outcome | Assigning {
  const wait = waitOf(retryAfter)
  const transient = (why: string): Outcome => ({ is: 'transient', why, retryAfter: wait })
  if (payload.length > MAX_BYTES) return transient(`answered ${payload.length} bytes: no answer is that long`)
  const body = objectIn(payload)
  if (!body) return transient(`answered ${status} with something that is not a JSON object`)
  if (status >= 300) {
    const why = refusal(status, body)
    const isFinal = [400, 401, 403, 404, 405, 415].includes(status)
    return isFinal ? { is: 'operator', why } : transient(why)
  }
  const word = typeof body.status === 'string' ? body.status.toLowerCase() : ''
  if (word === 'assigning' || (status === 202 && word === '')) {
    const { operationId } = body
    if (typeof operationId !== 'string' || operationId === '' || operationId.length > MAX_OPERATION) {
      return transient('accepted the registration, but named no operation')
    }
    return { is: 'assigning', operationId, wait: wait ?? DEFAULT_WAIT }
  }
  const state = isObject(body.registrationState) ? body.registrationState : {}
  if (word === 'assigned') return assigned(state)
  if (word === 'disabled') return { is: 'operator', why: 'says that the enrollment of this device is disabled' }
  if (word === 'failed' || word === 'unassigned')
    return { is: 'operator', why: `could not assign a hub${reasonIn(state)}` }
  return transient(`answered ${status} with a status that this agent does not know${quoted(word)}`)
}

/** Checks the values, because they become part of host names, user names and a file. */
function assigned(state: Members): Outcome {
  const { assignedHub: hub, deviceId, substatus, connectionProfile: profile, issuedCertificateChain: chain } = state
  if (profile !== undefined && profile !== null && !(typeof profile === 'string' && /^(classic)?$/i.test(profile))) {
    return {
      is: 'operator',
      why: `assigned a hub with the connection profile${quoted(profile)}: that hub needs a newer agent`,
    }
  }
  if (typeof hub !== 'string' || !isHost(hub)) {
    return { is: 'operator', why: `assigned a hub whose name is not a host name${quoted(hub)}` }
  }
  const flaw = typeof deviceId === 'string' ? idFlaw(deviceId) : 'that is missing'
  if (typeof deviceId !== 'string' || flaw) return { is: 'operator', why: `assigned a device id ${flaw}` }
  return {
    is: 'assigned',
    to: {
      hub,
      deviceId,
      substatus: typeof substatus === 'string' ? said(substatus) : undefined,
      chain: isTexts(chain) ? chain : undefined,
    },
  }
}

const WORDS: Readonly<Record<number, string>> = {
  401: 'refused the credential of this device (key or certificate, id scope, registration id, or the clock)',
  404: 'knows no enrollment for this device, or not this id scope',
  429: 'is busy',
}

function refusal(status: number, body: Members): string {
  return `${WORDS[status] ?? (status >= 500 ? 'has a problem' : 'refused the registration')}: ${status}${reasonIn(body)}`
}

/** Code, message and tracking id, which is what support asks for. */
function reasonIn({ errorCode, message, errorMessage = message, trackingId }: Members): string {
  const parts = [
    typeof errorCode === 'number' || typeof errorCode === 'string' ? `code ${said(String(errorCode))}` : '',
    typeof errorMessage === 'string' ? said(errorMessage) : '',
    typeof trackingId === 'string' ? `tracking id ${said(trackingId)}` : '',
  ].filter(part => part !== '')
  return parts.length === 0 ? '' : ` (${parts.join(', ')})`
}

/** Milliseconds, bounded; undefined if the service names no usable time. */
export function waitOf(retryAfter: string | undefined): number | undefined {
  if (retryAfter === undefined || !/^\d{1,15}$/.test(retryAfter) || Number(retryAfter) === 0) return undefined
  return Math.min(Number(retryAfter) * 1000, MAX_WAIT)
}

type Members = Readonly<Record<string, unknown>>

const isTexts = (value: unknown): value is readonly string[] =>
  Array.isArray(value) && value.every(each => typeof each === 'string')

function objectIn(payload: Buffer): Members | undefined {
  try {
    const json: unknown = JSON.parse(payload.toString())
    return isObject(json) ? json : undefined
  } catch {
    return undefined
  }
}

const said = (text: string): string => cut(onOneLine(text), MAX_SAID)

const quoted = (value: unknown): string =>
  typeof value === 'string' && value !== '' ? ` ${JSON.stringify(said(value))}` : ''
