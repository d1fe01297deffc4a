import type { IncomingMessage, ServerResponse } from 'node:http'
import { TLSSocket } from 'node:tls'
import { chainOf } from '../hub/client-certificate.ts'
import { asHubError, codedBody, HubError, invalidArgument, unauthorized } from '../hub/errors.ts'
import type { JsonObject } from '../hub/json.ts'
import { readBody } from '../hub/rest-server.ts'
import { decoded } from '../hub/sas.ts'
import { type Recognised, recognise } from './attestation.ts'
import { planFor, planned, type Sent, sent, spoiled } from './faults.ts'
import { type Doors, failure, isAssigned } from './mqtt.ts'
import { type Answer, API_VERSIONS } from './registrations.ts'

/** Registration over HTTPS: `PUT …/register`, `GET …/operations/{op}`, `POST …` to look up an earlier one. */

const PATH = /^\/(0ne[^/]*)\/registrations\/([^/]+)(?:\/(register|operations\/([^/]+)))?$/

/** True when the request was for us; then it is answered, or a fault has taken it. */
export function answerDevice(request: IncomingMessage, response: ServerResponse, path: string, doors: Doors): boolean {
  const match = PATH.exec(path)
  if (!match) return false
  const [, idScope = '', rawId = '', action, rawOperation] = match
  const call = `${request.method} ${action === undefined ? '' : rawOperation === undefined ? 'register' : 'operation'}`
  const registrationId = decoded(rawId) ?? ''
  const step = call === 'PUT register' ? 'register' : 'poll'
  const plan = planFor(doors.faults, step, registrationId.toLowerCase())
  if (plan?.do === 'lose') return true
  if (plan?.do === 'cut') {
    request.socket.destroy()
    return true
  }

  const work = async (): Promise<Answer> => {
    const who = authorised(request, idScope, registrationId, doors)
    const apiVersion = new URL(request.url ?? '', 'https://bench').searchParams.get('api-version') ?? ''
    if (!API_VERSIONS.includes(apiVersion)) throw invalidArgument(`api-version ${apiVersion}`)
    const { registrations } = doors
    if (call === 'PUT register') return await registrations.register(who, await readBody(request), apiVersion)
    if (call === 'GET operation') return registrations.poll(who, decoded(rawOperation) ?? '')
    if (call !== 'POST ') throw new HubError(405, 405000, 'MethodNotAllowed', call)
    const body = (await readBody(request)) as JsonObject | undefined
    if (body && 'csr' in body) throw invalidArgument('a look-up takes no csr')
    return registrations.lookUp(who)
  }
  const answered = async (): Promise<Sent> => {
    if (plan?.do === 'fail') return failure(plan)
    try {
      const right = await work()
      if (!isAssigned(right)) return sent(right)
      const spoil = planFor(doors.faults, 'assigned', registrationId.toLowerCase())
      return sent(await spoiled(spoil, right, doors.wrongCertificates))
    } catch (error) {
      const refusal = asHubError(error, doors.log)
      return { status: refusal.status, text: codedBody(refusal) }
    }
  }
  const send = (answer: Sent) => {
    const { status, text, retryAfter } = planned(plan, answer)
    const content = { 'Content-Type': 'application/json; charset=utf-8', 'Content-Length': Buffer.byteLength(text) }
    response.writeHead(status, { ...content, ...(retryAfter !== undefined && { 'Retry-After': retryAfter }) })
    response.end(text)
  }
  answered()
    .then(answer => void (plan?.do === 'delay' ? setTimeout(send, plan.ms, answer).unref() : send(answer)))
    .catch(error => {
      doors.log(`provisioning: ${error}`)
      response.destroy()
    })
  return true
}

function authorised(request: IncomingMessage, idScope: string, registrationId: string, doors: Doors): Recognised {
  if (idScope !== doors.idScope) throw new HubError(404, 404202, 'NotFound', 'no such id scope')
  const { socket, headers } = request
  const chain = socket instanceof TLSSocket ? chainOf(socket) : []
  const token = headers.authorization
  const who = recognise({ idScope, registrationId, token, chain, now: Date.now() }, doors.directory)
  if (typeof who === 'string') {
    doors.log(`provisioning refused ${JSON.stringify(registrationId)}: ${who}`)
    throw unauthorized('Unauthorized')
  }
  return who
}
