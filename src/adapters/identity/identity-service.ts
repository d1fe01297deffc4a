import { join } from 'node:path'
import * as v from 'valibot'
import { HubError, messageOf } from '../../domain/errors.ts'
import { idFlaw, isHost } from '../../domain/hub-names.ts'
import { onOneLine } from '../../domain/terminal.ts'
import { cut } from '../../domain/text.ts'
import type { HubIdentity, Identity } from '../../ports/identity.ts'
import { limited } from '../iot-hub/limited.ts'

const API = 'api-version=2020-09-01'
/** Milliseconds: the service may have to ask its provisioning service first. */
const PATIENCE = 15_000
/** Answers have a few hundred bytes. */
const MAX_BYTES = 65_536
const MAX_SAID = 300

const id = v.pipe(
  v.string(),
  v.check(text => idFlaw(text) === undefined),
)
const host = v.pipe(v.string(), v.check(isHost))
const identitySchema = v.object({
  type: v.literal('aziot'),
  spec: v.object({
    hubName: host,
    gatewayHost: v.nullish(v.string(), ''),
    deviceId: id,
    moduleId: v.nullish(id),
    auth: v.object({ type: v.string(), keyHandle: v.pipe(v.string(), v.minLength(1), v.maxLength(4096)) }),
  }),
})
const signatureSchema = v.object({ signature: v.pipe(v.string(), v.regex(/^[A-Za-z0-9+/]{16,4096}={0,2}$/)) })

/**
 * The module identity that Azure IoT Identity Service gives to this process. It knows its callers by their user, and keeps the key: the
 * agent only has texts signed (PROTOCOL.md, "Identity service"). Asked for each connection, since it may provision the device again.
 */
export class ServiceIdentity implements Identity {
  readonly #folder: string
  readonly #patience: number

  /** `folder`: has the sockets of the service. `patience`: milliseconds for each answer. */
  constructor(folder: string, patience = PATIENCE) {
    this.#folder = folder
    this.#patience = patience
  }

  async get(signal: AbortSignal): Promise<HubIdentity> {
    const { spec } = await this.#ask(identitySchema, 'identityd', 'GET', '/identities/identity', undefined, signal)
    const { hubName: hub, gatewayHost: gateway, deviceId, moduleId, auth } = spec
    if (auth.type !== 'sas') {
      throw new HubError(
        `no identity: ${SERVICE} gives this user an identity of type ${JSON.stringify(said(auth.type))}; it must be a module with a key: idtype = ["module"]`,
      )
    }
    if (gateway !== '' && !isHost(gateway))
      throw new HubError(`no identity: ${SERVICE} names a gateway that is not a host`)
    const { keyHandle } = auth
    return {
      ...{ hub, deviceId, moduleId: moduleId ?? undefined },
      gateway: gateway === '' || gateway === hub ? undefined : gateway,
      auth: { kind: 'signer', sign: text => this.#sign(keyHandle, text) },
    }
  }

  /** Does nothing: the service itself decides when it registers again. */
  async tried(): Promise<void> {}

  /** The same. */
  async ordered(): Promise<undefined> {}

  async #sign(keyHandle: string, text: string): Promise<string> {
    const parameters = { message: Buffer.from(text).toString('base64') }
    const body = { keyHandle, algorithm: 'HMAC-SHA256', parameters }
    const { signature } = await this.#ask(signatureSchema, 'keyd', 'POST', '/sign', body, new AbortController().signal)
    return signature
  }

  async #ask<Schema extends v.GenericSchema>(
    schema: Schema,
    daemon: 'identityd' | 'keyd',
    method: string,
    path: string,
    body: object | undefined,
    signal: AbortSignal,
  ): Promise<v.InferOutput<Schema>> {
    const socketPath = join(this.#folder, `${daemon}.sock`)
    let answer: { readonly status: number; readonly text: string }
    const over = new AbortController()
    try {
      const text = body === undefined ? '' : JSON.stringify(body)
      const asked = ask(socketPath, method, `${path}?${API}`, text, over.signal)
      answer = await limited(asked, this.#patience, 'no answer', signal)
    } catch (cause) {
      signal.throwIfAborted()
      throw new HubError(`no identity: ${reasonOf(socketPath, cause)}`, { cause })
    } finally {
      // A silent service would keep the socket of each attempt.
      over.abort()
    }
    const json = jsonOf(answer.text)
    if (answer.status >= 300) {
      const { message } = (json ?? {}) as { message?: unknown }
      const why = typeof message === 'string' && message !== '' ? `: ${said(message)}` : ''
      throw new HubError(`no identity: ${SERVICE} refused ${path} with ${answer.status}${why} (${PRINCIPAL})`)
    }
    const found = v.safeParse(schema, json)
    // The answer may hold a handle, which counts as a secret.
    if (!found.success) throw new HubError(`no identity: ${SERVICE} answered ${path} with something unusable`)
    return found.output
  }
}

const SERVICE = 'the IoT Identity Service'
const PRINCIPAL = 'a [[principal]] in /etc/aziot/identityd/config.d must have the uid of the agent'

function reasonOf(socket: string, cause: unknown): string {
  const { code } = cause as NodeJS.ErrnoException
  if (code === 'ENOENT') return `${SERVICE} is not installed: there is no ${socket}`
  if (code === 'EACCES') return `the agent may not use ${socket}: add it to the groups aziotid and aziotks`
  return `${SERVICE} does not answer on ${socket}: ${onOneLine(messageOf(cause))}`
}

/** One HTTP request over a Unix socket. Loaded on use: nothing else of the agent needs Node's client for plain HTTP. */
async function ask(socketPath: string, method: string, path: string, body: string, signal: AbortSignal) {
  const { request } = await import('node:http')
  const headers = { Host: 'localhost', 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) }
  return await new Promise<{ status: number; text: string }>((resolve, reject) => {
    const sending = request({ socketPath, method, path, headers, signal, agent: false }, response => {
      const pieces: Buffer[] = []
      let size = 0
      response.on('data', (piece: Buffer) => {
        size += piece.length
        if (size > MAX_BYTES) sending.destroy(new Error('the answer is too long'))
        else pieces.push(piece)
      })
      response.on('error', reject)
      response.on('aborted', () => reject(new Error('the answer ended early')))
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text: Buffer.concat(pieces).toString() }))
    })
    sending.on('error', reject)
    sending.end(body)
  })
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const said = (text: string): string => cut(onOneLine(text), MAX_SAID)
