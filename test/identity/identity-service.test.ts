import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { ServiceIdentity } from '../../src/adapters/identity/identity-service.ts'
import { IotHub } from '../../src/adapters/iot-hub/iot-hub.ts'
import { leanMqtt } from '../../src/adapters/iot-hub/lean-mqtt.ts'
import { connectionFields } from '../../src/domain/connection-string.ts'
import { aHub, tempDir } from '../hub/support.ts'

// The IoT Identity Service by a double of its two sockets, made from its documented routes. The real daemons are not in Debian.

leanMqtt()
const never = new AbortController().signal

interface Answers {
  identity: (request: IncomingMessage) => readonly [status: number, body: string]
  sign: (body: string, request: IncomingMessage) => readonly [status: number, body: string]
}

/** A folder with both sockets. */
async function aService(t: TestContext, answers: Answers, servers: Server[] = []): Promise<string> {
  const folder = await tempDir(t)
  const serve = async (name: string, answer: (body: string, request: IncomingMessage) => readonly [number, string]) => {
    const server = createServer(async (request: IncomingMessage, response: ServerResponse) => {
      let body = ''
      for await (const piece of request) body += piece
      const [status, text] = answer(body, request)
      // Nothing is answered with 0.
      if (status > 0) response.writeHead(status, { 'content-type': 'application/json' }).end(text)
    })
    server.listen(join(folder, name))
    await once(server, 'listening')
    servers.push(server)
    t.after(() => {
      server.closeAllConnections()
      server.close()
    })
  }
  await serve('identityd.sock', (_, request) => answers.identity(request))
  await serve('keyd.sock', (body, request) => answers.sign(body, request))
  return folder
}

const spec = {
  hubName: 'hub.example.com',
  gatewayHost: 'hub.example.com',
  deviceId: 'pi',
  moduleId: 'IoTHubDeviceUpdate',
  genId: '1',
  auth: { type: 'sas', keyHandle: 'handle-1' },
}
const identityOf = (changes: object = {}) => JSON.stringify({ type: 'aziot', spec: { ...spec, ...changes } })
const noKey: Answers['sign'] = () => [500, '']

test('a module connects with tokens that the service signs, and its key never comes near the agent', async t => {
  const hub = await aHub(t)
  hub.createDevice('pi')
  hub.createModule('pi', 'IoTHubDeviceUpdate')
  const key =
    new Map(connectionFields(hub.deviceConnectionString('pi/IoTHubDeviceUpdate'))).get('SharedAccessKey') ?? ''
  const asked: string[] = []
  const folder = await aService(t, {
    identity: ({ method, url }) => {
      asked.push(`${method} ${url}`)
      return [200, identityOf({ hubName: hub.hostName, gatewayHost: `localhost:${hub.mqttPort}` })]
    },
    sign: (body, { method, url }) => {
      asked.push(`${method} ${url}`)
      const { keyHandle, algorithm, parameters } = JSON.parse(body)
      assert.deepEqual([keyHandle, algorithm], ['handle-1', 'HMAC-SHA256'])
      const message = Buffer.from(parameters.message, 'base64')
      const signature = createHmac('sha256', Buffer.from(key, 'base64')).update(message).digest('base64')
      return [200, JSON.stringify({ signature })]
    },
  })
  const agent = new IotHub({
    identity: new ServiceIdentity(folder),
    ...{ modelId: 'dtmi:test;1', productInfo: 'test', ca: hub.ca, protocol: 'mqtt', keepAliveSeconds: 60 },
    ...{ proxies: { httpProxy: undefined, httpsProxy: undefined, noProxy: [] }, tokenSeconds: 3600 },
    ...{ answerTimeout: 10_000, time: { behind: () => 0, seen: async () => {}, explain: (text: string) => text } },
  })
  for (let connection = 1; connection <= 2; connection++) {
    const connected = await agent.connect(never)
    assert.equal(connected.name, 'pi/IoTHubDeviceUpdate')
    await connected.report({ seen: connection }, never)
    await connected.close()
    await hub.waitForDisconnected('pi/IoTHubDeviceUpdate')
  }
  assert.equal(hub.getTwin('pi/IoTHubDeviceUpdate').properties.reported.seen, 2)
  const each = ['GET /identities/identity?api-version=2020-09-01', 'POST /sign?api-version=2020-09-01']
  assert.deepEqual(asked, [...each, ...each], 'asked again for each connection')
})

test('what the service says is checked, and every refusal is one line that says what to do', async t => {
  for (const [answer, says] of [
    [[200, identityOf({ hubName: 'evil.example/..' })], /something unusable$/],
    [[200, identityOf({ deviceId: 'a/b' })], /something unusable$/],
    [[200, identityOf({ gatewayHost: 'a b' })], /a gateway that is not a host$/],
    [
      [200, identityOf({ auth: { type: 'x509', keyHandle: 'h', certId: 'c' } })],
      /type "x509"; .*idtype = \["module"\]$/,
    ],
    [[200, identityOf({ auth: { type: 'sas' } })], /something unusable$/],
    [[200, '{"type":"local"}'], /something unusable$/],
    [[200, '<html>'], /something unusable$/],
    [[200, 'x'.repeat(200_000)], /does not answer on .*identityd\.sock: the answer is too long$/],
    [[403, '{"message":"caller\\nunknown"}'], /refused .* with 403: caller unknown \(a \[\[principal\]\] .* uid/],
    [[500, ''], /refused \/identities\/identity with 500 \(/],
  ] as const) {
    const identity = new ServiceIdentity(await aService(t, { identity: () => answer, sign: noKey }))
    await assert.rejects(identity.get(never), (error: Error) => {
      assert.equal(error.name, 'HubError')
      assert.match(error.message, /^no identity: [^\n]*$/)
      assert.match(error.message, says)
      return true
    })
  }
  const missing = new ServiceIdentity(await tempDir(t))
  await assert.rejects(missing.get(never), /is not installed: there is no .*identityd\.sock$/)
})

test('a gateway counts only when it is not the hub; a device without a module has none', async t => {
  const get = async (changes: object) =>
    await new ServiceIdentity(await aService(t, { identity: () => [200, identityOf(changes)], sign: noKey })).get(never)
  assert.equal((await get({})).gateway, undefined)
  assert.equal((await get({ gatewayHost: 'edge' })).gateway, 'edge')
  assert.equal((await get({ moduleId: undefined })).moduleId, undefined)
})

test('a signature that is refused or is none is an error without the handle; an abort ends a silent service', async t => {
  for (const answer of [
    [200, '{"signature":"a b"}'],
    [200, '{"signature":"handle-1"}'],
    [400, '{"message":"no such key"}'],
  ] as const) {
    const { auth } = await new ServiceIdentity(
      await aService(t, { identity: () => [200, identityOf()], sign: () => answer }),
    ).get(never)
    assert.ok(auth.kind === 'signer')
    await assert.rejects(auth.sign('text'), (error: Error) => {
      assert.match(error.message, /^no identity: the IoT Identity Service (answered|refused) \/sign with /)
      assert.doesNotMatch(error.message, /handle-1/)
      return true
    })
  }
  const stop = new AbortController()
  const enough = new Error('enough')
  setTimeout(() => stop.abort(enough), 100)
  const silent = new ServiceIdentity(await aService(t, { identity: () => [0, ''], sign: noKey }))
  await assert.rejects(silent.get(stop.signal), error => error === enough)
})

test('a service that stays silent keeps no connection of an attempt', async t => {
  const servers: Server[] = []
  let status = 0
  const folder = await aService(t, { identity: () => [status, identityOf()], sign: () => [0, ''] }, servers)
  const identity = new ServiceIdentity(folder, 1_000)
  const open = async () =>
    (await Promise.all(servers.map(server => promisify(server.getConnections.bind(server))()))).reduce(
      (sum, each) => sum + each,
    )
  await assert.rejects(identity.get(never), /does not answer on .*identityd\.sock: no answer within 1 s$/)
  status = 200
  const { auth } = await identity.get(never)
  assert.ok(auth.kind === 'signer')
  await assert.rejects(auth.sign('text'), /does not answer on .*keyd\.sock: no answer within 1 s$/)
  status = 0
  const stop = new AbortController()
  setTimeout(() => stop.abort(), 100)
  await assert.rejects(identity.get(stop.signal))
  // Far below the time after which Node's own server closes an idle connection.
  for (let tries = 0; (await open()) > 0 && tries < 100; tries++) await sleep(20)
  assert.equal(await open(), 0)
})
