import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, describe, type TestContext } from 'node:test'
import { DpsClient } from '../../src/adapters/dps/dps-client.ts'
import { ConnectionStringIdentity } from '../../src/adapters/identity/connection-string.ts'
import type { HubProtocol } from '../../src/adapters/iot-hub/hub-socket.ts'
import { IotHub } from '../../src/adapters/iot-hub/iot-hub.ts'
import { startHub } from '../bench/hub/hub.ts'

/** Networks that allow nothing but a proxy: the hub's name cannot be looked up, only the proxy knows a way. */

const signal = new AbortController().signal
const folder = await mkdtemp(join(tmpdir(), 'hub-routes-'))
const bench = await startHub({ stateDir: folder })
after(async () => {
  await bench.stop()
  await rm(folder, { recursive: true })
})
const WAYS: Readonly<Record<string, number>> = {
  [`${bench.hostName}:8883`]: bench.mqttPort,
  [`${bench.hostName}:443`]: bench.restPort,
  [`${bench.provisioning.globalHost}:8883`]: bench.mqttPort,
  [`${bench.provisioning.globalHost}:443`]: bench.restPort,
  'impostor.example:8883': bench.mqttPort,
  'impostor.example:443': bench.restPort,
}

/** Notes what it is asked for; `status` other than 200 refuses. */
async function aProxy(t: TestContext, status = 200) {
  const asked: string[] = []
  const sockets = new Set<Socket>()
  const server = createServer(socket => {
    sockets.add(socket.on('error', () => {}))
    socket.once('data', head => {
      const [line = ''] = head.toString().split('\r\n')
      const authority = /^CONNECT (\S+) HTTP\/1\.1$/.exec(line)?.[1] ?? line
      const credentials = /Proxy-Authorization: Basic (\S+)/i.exec(head.toString())?.[1]
      asked.push(credentials ? `${authority} ${Buffer.from(credentials, 'base64')}` : authority)
      const port = WAYS[authority]
      if (status !== 200 || port === undefined)
        return socket.end(`HTTP/1.1 ${status === 200 ? 502 : status} No\r\n\r\n`)
      const other = connect(port, '127.0.0.1', () => {
        socket.write('HTTP/1.1 200 Connection established\r\n\r\n')
        socket.pipe(other).pipe(socket)
      })
      sockets.add(other.on('error', () => socket.destroy()))
      return undefined
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  const { port } = server.address() as AddressInfo
  const proxies = (user = '', noProxy: readonly string[] = []) => ({
    httpProxy: undefined,
    httpsProxy: `http://${user}127.0.0.1:${port}`,
    noProxy,
  })
  return { asked, proxies }
}

let count = 0
function aHub(
  protocol: HubProtocol,
  proxies: { httpProxy: undefined; httpsProxy: string | undefined; noProxy: readonly string[] },
  change: (connectionString: string, id: string) => string = text => text,
) {
  const id = `device-${count++}`
  bench.createDevice(id)
  return new IotHub({
    identity: new ConnectionStringIdentity(() => change(bench.deviceConnectionString(id, { cloud: true }), id)),
    protocol,
    proxies,
    modelId: '',
    productInfo: 'test',
    ca: bench.ca,
    keepAliveSeconds: 60,
    tokenSeconds: 86_400,
    answerTimeout: 5000,
    time: { behind: () => 0, seen: async () => {}, explain: message => message },
  })
}

for (const [protocol, port] of [
  ['mqtt', 8883],
  ['mqtt/ws', 443],
] as const) {
  const authority = `${bench.hostName}:${port}`

  describe(protocol, () => {
    test('through the proxy: reads, reports, is called', async t => {
      const { asked, proxies } = await aProxy(t)
      const connection = await aHub(protocol, proxies()).connect(signal)
      const { desired } = (await connection.readTwin(signal)) as { desired: { $version: number } }
      assert.equal(desired.$version, 1)
      await connection.report({ x: 1 }, signal)
      assert.deepEqual(asked, [authority])
      await connection.close()
    })

    test('the provisioning service is reached in the same way', async t => {
      const { asked, proxies } = await aProxy(t)
      const host = bench.provisioning.globalHost
      const registrationId = `pi-${port}`
      bench.provisioning.enrollGroup({ enrollmentGroupId: 'fleet', attestation: { type: 'symmetricKey' } })
      const key = bench.provisioning.deviceKey('fleet', registrationId)
      const { idScope } = bench.provisioning
      const time = { behind: () => 0 }
      const options = { host, idScope, payload: undefined, protocol, ca: bench.ca, proxies: proxies(), time }
      const auth = { kind: 'symmetricKey', key, keyName: undefined } as const
      const outcome = await new DpsClient(options).register({ registrationId, auth }, signal)
      assert.equal(outcome.is, 'assigned')
      assert.deepEqual(asked, [`${host}:${port}`])
    })

    test('the credentials of the proxy, with a percent sign that is one', async t => {
      const { asked, proxies } = await aProxy(t)
      const connection = await aHub(protocol, proxies('me:50%25off@')).connect(signal)
      assert.deepEqual(asked, [`${authority} me:50%off`])
      await connection.close()
    })

    test('the certificate must be for the hub, not for the proxy', async t => {
      const { asked, proxies } = await aProxy(t)
      const hub = aHub(protocol, proxies(), text => text.replace(bench.hostName, 'impostor.example'))
      await assert.rejects(hub.connect(signal), { name: 'HubError', message: /impostor\.example/ })
      assert.deepEqual(asked, [`impostor.example:${port}`])
    })

    test('no_proxy: the proxy is not asked', async t => {
      const { asked, proxies } = await aProxy(t)
      const gateway = (_: string, id: string) => bench.deviceConnectionString(id, { webSocket: protocol === 'mqtt/ws' })
      const connection = await aHub(protocol, proxies('', ['localhost']), gateway).connect(signal)
      assert.deepEqual(asked, [])
      await connection.close()
    })

    test('a proxy that refuses is gone round', async t => {
      const { asked, proxies } = await aProxy(t, 403)
      const gateway = (_: string, id: string) => bench.deviceConnectionString(id, { webSocket: protocol === 'mqtt/ws' })
      const connection = await aHub(protocol, proxies(), gateway).connect(signal)
      assert.equal(asked.length, 1)
      await connection.close()
    })

    test('no way at all: the error names both failures', async t => {
      const { proxies } = await aProxy(t, 407)
      await assert.rejects(aHub(protocol, proxies()).connect(signal), {
        name: 'HubError',
        message: /^through the proxy: the proxy answered 407; without it: .*bench\.azure-devices\.net/,
      })
    })

    test('abort ends the way there at once', async t => {
      const server = createServer(socket => socket.on('error', () => {})).listen(0, '127.0.0.1')
      await once(server, 'listening')
      t.after(() => server.close())
      const stop = new AbortController()
      const httpsProxy = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
      const hub = aHub(protocol, { httpProxy: undefined, httpsProxy, noProxy: [] })
      server.once('connection', () => stop.abort(new Error('enough')))
      await assert.rejects(hub.connect(stop.signal), { message: 'enough' })
    })
  })
}

test('a WebSocket that the hub refuses says so', async () => {
  const hub = aHub('mqtt/ws', { httpProxy: undefined, httpsProxy: undefined, noProxy: [] }, text =>
    text.replace(/$/, `;GatewayHostName=localhost:${bench.mqttPort}`),
  )
  await assert.rejects(hub.connect(signal), { name: 'HubError', message: /^the WebSocket was refused: / })
})
