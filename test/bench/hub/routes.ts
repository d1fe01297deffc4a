import * as v from 'valibot'
import { deviceJson, identityOf, twinJson, twinUpdateOf } from './device-json.ts'
import type { Devices } from './devices.ts'
import { HubError, invalidArgument } from './errors.ts'
import type { Faults } from './faults.ts'
import type { Json } from './json.ts'
import type { Methods } from './methods.ts'
import type { Permission } from './policies.ts'

export interface RestHub {
  readonly devices: Devices
  readonly methods: Methods
  readonly faults: Faults
}

export interface RestRequest {
  readonly method: string
  /** The URL-decoded path segment the route has a placeholder for; `device/module` when it has two. */
  readonly id: string
  readonly query: URLSearchParams
  readonly header: (name: string) => string | undefined
  /** Parsed JSON; undefined without a body. */
  readonly body: unknown
}

export interface RestAnswer {
  readonly status: number
  readonly body?: Json
  readonly headers?: Readonly<Record<string, string>>
}

export interface Route {
  readonly method: string
  /** `{id}` and `{module}` stand for one segment each. */
  readonly path: string
  readonly needs: Permission
  readonly handle: (request: RestRequest, hub: RestHub) => RestAnswer | Promise<RestAnswer>
}

const ok = (body: Json): RestAnswer => ({ status: 200, body })

/** The service's REST calls (PROTOCOL.md, "Service API"), and the bench's own. */
export const deviceRoutes: readonly Route[] = [
  ...['/twins/{id}', '/twins/{id}/modules/{module}'].flatMap((path): Route[] => [
    {
      method: 'GET',
      path,
      needs: 'ServiceConnect',
      handle: ({ id }, { devices }) => ok(twinJson(devices.get(id), devices)),
    },
    { method: 'PATCH', path, needs: 'ServiceConnect', handle: changeTwin },
    { method: 'PUT', path, needs: 'ServiceConnect', handle: changeTwin },
    { method: 'POST', path: `${path}/methods`, needs: 'ServiceConnect', handle: invokeMethod },
  ]),
  { method: 'GET', path: '/devices', needs: 'RegistryRead', handle: listDevices },
  { method: 'GET', path: '/devices/', needs: 'RegistryRead', handle: listDevices },
  {
    method: 'GET',
    path: '/devices/{id}/modules',
    needs: 'RegistryRead',
    handle: ({ id }, { devices }) => {
      devices.get(id)
      return ok(devices.modules(id).map(record => deviceJson(record, devices)))
    },
  },
  ...['/devices/{id}', '/devices/{id}/modules/{module}'].flatMap((path): Route[] => [
    {
      method: 'GET',
      path,
      needs: 'RegistryRead',
      handle: ({ id }, { devices }) => ok(deviceJson(devices.get(id), devices)),
    },
    { method: 'PUT', path, needs: 'RegistryWrite', handle: putDevice },
    {
      method: 'DELETE',
      path,
      needs: 'RegistryWrite',
      handle: ({ id, header }, { devices }) => {
        devices.delete(id, header('if-match'))
        return { status: 204 }
      },
    },
  ]),
]

/** Not Azure's: trouble on demand for a hub in another process. Only the owner may. */
export const faultRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/bench/faults',
    needs: 'RegistryWrite',
    handle: (_, { faults }) => ok(faults.armed() as Json),
  },
  {
    method: 'POST',
    path: '/bench/faults',
    needs: 'RegistryWrite',
    handle: ({ body }, { faults }) => {
      faults.injectUnknown(body)
      return { status: 204 }
    },
  },
  {
    method: 'DELETE',
    path: '/bench/faults',
    needs: 'RegistryWrite',
    handle: (_, { faults }) => {
      faults.clear()
      return { status: 204 }
    },
  },
]

function changeTwin({ method, id, header, body }: RestRequest, { devices }: RestHub): RestAnswer {
  const record = devices.updateTwin(id, twinUpdateOf(body), header('if-match'), method === 'PUT')
  return ok(twinJson(record, devices))
}

/** Without If-Match the device must be new, with it there must be one. */
function putDevice({ id, header, body }: RestRequest, { devices }: RestHub): RestAnswer {
  const ifMatch = header('if-match')
  const identity = identityOf(body)
  const record = ifMatch === undefined ? devices.create(id, identity) : devices.updateIdentity(id, identity, ifMatch)
  return ok(deviceJson(record, devices))
}

function listDevices({ query }: RestRequest, { devices }: RestHub): RestAnswer {
  const top = Number(query.get('top') ?? 1000)
  if (!Number.isInteger(top) || top < 1 || top > 1000) throw invalidArgument('top is 1 to 1000')
  return ok(Array.from(devices.all(), record => deviceJson(record, devices)).slice(0, top))
}

const seconds = (least: number) => v.nullish(v.pipe(v.number(), v.minValue(least), v.maxValue(300)))
const methodSchema = v.object({
  methodName: v.string(),
  payload: v.optional(v.unknown()),
  responseTimeoutInSeconds: seconds(5),
  connectTimeoutInSeconds: seconds(0),
})

/** Azure's limits on the two timeouts, and its defaults. Throws HubError (400). */
export function methodCallOf(value: unknown) {
  const parsed = v.safeParse(methodSchema, value)
  if (!parsed.success) throw invalidArgument(v.summarize(parsed.issues))
  const { methodName, payload, responseTimeoutInSeconds, connectTimeoutInSeconds } = parsed.output
  return {
    name: methodName,
    payload: (payload ?? null) as Json,
    responseMs: (responseTimeoutInSeconds ?? 30) * 1000,
    connectMs: (connectTimeoutInSeconds ?? 0) * 1000,
  }
}

async function invokeMethod({ id, body }: RestRequest, { devices, methods }: RestHub): Promise<RestAnswer> {
  devices.get(id)
  const { status, payload } = await methods.invoke(id, methodCallOf(body))
  return ok({ status, payload })
}

export const notFound = (what: string) => new HubError(404, 404000, 'NotFound', `no such resource: ${what}`)
