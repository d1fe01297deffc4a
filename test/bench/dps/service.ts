import type { IncomingMessage, ServerResponse } from 'node:http'
import { asHubError, codedBody, HubError, invalidArgument, preconditionFailed, unauthorized } from '../hub/errors.ts'
import { isObject, type JsonObject, member } from '../hub/json.ts'
import { page } from '../hub/paging.ts'
import { runQuery } from '../hub/query.ts'
import { parseQuery } from '../hub/query-syntax.ts'
import { readBody, send } from '../hub/rest-server.ts'
import type { RestAnswer } from '../hub/routes.ts'
import { decoded, expiryOf, isSignedBy, parseSas, resourceOf } from '../hub/sas.ts'
import {
  type Enrollment,
  type Group,
  groupOf,
  type Individual,
  individualOf,
  shownEnrollment,
  shownX509,
} from './enrollments.ts'
import type { Registrations } from './registrations.ts'
import type { ProvisioningStore } from './store.ts'

/** The service's REST API, 2021-10-01: enrolments and registrations, for the operator's side. */

export interface ServiceDoor {
  readonly hosts: readonly string[]
  readonly store: ProvisioningStore
  readonly registrations: Registrations
  readonly log: (line: string) => void
  /** True: refuse this call with 429. */
  readonly isThrottled: () => boolean
}

interface Call {
  readonly method: string
  readonly id: string
  readonly body: unknown
  readonly header: (name: string) => string | undefined
}

const PATH = /^\/(enrollments|enrollmentGroups|registrations)(?:\/([^/]*))?(?:\/(attestationmechanism|query))?$/i
const MAX_BULK = 10

/** True when the request was for this API; then it is answered. */
export function answerService(
  request: IncomingMessage,
  response: ServerResponse,
  path: string,
  door: ServiceDoor,
): boolean {
  const match = PATH.exec(path)
  if (!match) return false
  const [, kind = '', rawId = '', last = ''] = match
  const work = async (): Promise<RestAnswer> => {
    authorise(request.headers.authorization, door)
    if (door.isThrottled()) throw new HubError(429, 429001, 'Throttled', 'too many calls')
    const id = (decoded(rawId) ?? '').toLowerCase()
    const header = (name: string) => {
      const value = request.headers[name]
      return Array.isArray(value) ? value[0] : value
    }
    const call = { method: request.method ?? '', id, body: await readBody(request), header }
    const action = `${call.method} ${last || (id === 'query' ? 'query' : id ? 'one' : 'all')}`.toLowerCase()
    if (kind.toLowerCase() === 'registrations') return registration(action, call, door)
    return kind.toLowerCase() === 'enrollments' ? individuals(action, call, door) : groups(action, call, door)
  }
  work()
    .catch((error): RestAnswer & { text: string } => {
      const refusal = asHubError(error, door.log)
      const headers: Record<string, string> = refusal.status === 429 ? { 'Retry-After': '1' } : {}
      return { status: refusal.status, text: codedBody(refusal), headers }
    })
    .then(answer => send(response, answer))
  return true
}

function authorise(header: string | undefined, { hosts, store }: ServiceDoor): void {
  const token = parseSas(header ?? '')
  const resource = token && resourceOf(token)
  if (!token || resource?.path !== '' || !hosts.includes(resource.host)) throw unauthorized('no token for this service')
  if (token.skn !== 'provisioningserviceowner') throw unauthorized('unknown policy')
  if (!isSignedBy(token, [store.serviceKey])) throw unauthorized('wrong signature')
  // Microsoft's client writes milliseconds here, which is a date far away.
  if (expiryOf(token) <= Date.now()) throw unauthorized('token has expired')
}

const individuals = (action: string, call: Call, { store }: ServiceDoor) =>
  action === 'post all'
    ? bulk(call.body, store)
    : enrollments(action, call, store, store.individuals, (body, old) => {
        const individual = individualOf(body, old)
        if (individual.registrationId !== call.id) throw invalidArgument('registrationId is not the one in the path')
        return individual
      })

const groups = (action: string, call: Call, { store }: ServiceDoor) =>
  enrollments(action, call, store, store.groups, (body, old) => {
    const group = groupOf(body, old)
    if (group.enrollmentGroupId !== call.id) throw invalidArgument('enrollmentGroupId is not the one in the path')
    return group
  })

function enrollments<T extends Individual | Group>(
  action: string,
  { id, body, header }: Call,
  store: ProvisioningStore,
  all: Map<string, T>,
  read: (body: unknown, old: T | undefined) => T,
): RestAnswer {
  const known = () => all.get(id) ?? missing(id)
  switch (action) {
    case 'get one':
      return { status: 200, body: shownEnrollment(known()) }
    case 'put one': {
      const old = all.get(id)
      const ifMatch = header('if-match')
      if (ifMatch !== undefined) checkEtag(ifMatch, known())
      else if (old) throw conflict(id)
      const enrollment = read(body, old)
      all.set(id, enrollment)
      store.changed()
      return { status: 200, body: shownEnrollment(enrollment) }
    }
    case 'delete one':
      checkEtag(header('if-match') ?? '*', known())
      all.delete(id)
      store.changed()
      return { status: 204 }
    case 'post attestationmechanism':
      return { status: 200, body: mechanismOf(known()) }
    case 'post query':
      return query(body, [...all.values()].map(shownEnrollment), header)
    default:
      throw new HubError(405, 405000, 'MethodNotAllowed', action)
  }
}

function mechanismOf({ attestation }: Enrollment): JsonObject {
  return attestation.type === 'x509' ? shownX509(attestation) : (attestation as unknown as JsonObject)
}

function registration(action: string, { id, body, header }: Call, { store, registrations }: ServiceDoor): RestAnswer {
  if (action === 'post query') {
    const states = [...store.registrations.values()]
      .filter(({ enrollmentGroupId }) => enrollmentGroupId === id)
      .map(each => registrations.serviceStateOf(each))
    return query(body, states, header)
  }
  const known = store.registrations.get(id) ?? missing(id)
  if (action === 'get one') return { status: 200, body: registrations.serviceStateOf(known) }
  if (action !== 'delete one') throw new HubError(405, 405000, 'MethodNotAllowed', action)
  checkEtag(header('if-match') ?? '*', known)
  store.registrations.delete(id)
  store.changed()
  return { status: 204 }
}

/** All or some: each enrolment has its own outcome. */
function bulk(body: unknown, store: ProvisioningStore): RestAnswer {
  const mode = member(body as JsonObject, 'mode')
  const list = member(body as JsonObject, 'enrollments')
  if (!Array.isArray(list) || list.length > MAX_BULK) throw invalidArgument(`enrollments: a list of up to ${MAX_BULK}`)
  const errors: JsonObject[] = []
  for (const each of list) {
    const registrationId = isObject(each) ? String(each.registrationId).toLowerCase() : ''
    try {
      const old = store.individuals.get(registrationId)
      if (mode === 'create' && old) throw conflict(registrationId)
      if (mode !== 'create' && !old) throw missing(registrationId)
      if (mode === 'updateIfMatchEtag' && old) checkEtag(String((each as JsonObject).etag), old)
      if (mode === 'delete') store.individuals.delete(registrationId)
      else store.individuals.set(registrationId, individualOf(each, old))
    } catch (error) {
      const { errorCode, message } = asHubError(error, () => {})
      errors.push({ registrationId, errorCode, errorStatus: message })
    }
  }
  store.changed()
  return { status: 200, body: { isSuccessful: errors.length === 0, errors } }
}

/** The service knows `SELECT *` over the whole collection, and conditions on its members. */
function query(body: unknown, rows: readonly JsonObject[], header: Call['header']): RestAnswer {
  const text = member(body as JsonObject, 'query')
  if (typeof text !== 'string') throw invalidArgument('the body has no query')
  const parsed = parseQuery(
    text
      .replace(/\bFROM\s+(enrollments|enrollmentGroups|registrations)\b/i, 'FROM devices')
      .replace(/^\s*SELECT \*\s*$/i, 'SELECT * FROM devices'),
  )
  return page(runQuery(parsed, rows), { header }, 'Enrollment')
}

function checkEtag(ifMatch: string, { etag }: Pick<Enrollment, 'etag'>): void {
  const wanted = ifMatch.replace(/^"(.*)"$/, '$1')
  if (wanted !== '*' && wanted !== etag) throw preconditionFailed()
}

const conflict = (id: string) => new HubError(409, 409000, 'Conflict', `${id} exists already`)

function missing(id: string): never {
  throw new HubError(404, 404201, 'NotFound', `no enrollment or registration ${id}`)
}
