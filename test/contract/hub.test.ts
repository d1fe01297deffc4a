import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, describe } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { ConnectionStringIdentity } from '../../src/adapters/identity/connection-string.ts'
import { safePayload } from '../../src/adapters/iot-hub/hub-message.ts'
import type { HubProtocol } from '../../src/adapters/iot-hub/hub-socket.ts'
import { IotHub } from '../../src/adapters/iot-hub/iot-hub.ts'
import { leanMqtt } from '../../src/adapters/iot-hub/lean-mqtt.ts'
import type { Hub, HubConnection, MethodAnswer } from '../../src/ports/hub.ts'
import { type Json, startHub } from '../bench/hub/hub.ts'
import { METHOD_CALLS } from '../bench/hub/topics.ts'
import { FakeDevice } from '../workflow/fake-device.ts'

const signal = new AbortController().signal
const folder = await mkdtemp(join(tmpdir(), 'hub-'))
const bench = await startHub({ stateDir: folder })
after(async () => {
  await bench.stop()
  await rm(folder, { recursive: true })
})
leanMqtt()

/** A hub and what a test needs of the other side. */
interface Side {
  readonly hub: Hub
  setDesired(value: number): void
  reported(): Record<string, unknown>
  /** What happens right behind each answer to a twin read; returns what ends that. */
  onRead?(then: () => void): () => void
  call(name: string, payload: Json): Promise<MethodAnswer>
}

let count = 0
const settings = {
  time: { behind: () => 0, seen: async () => {}, explain: (message: string) => message },
  modelId: 'dtmi:azure:iot:deviceUpdateModel;3',
  productInfo: 'test',
  proxies: { httpProxy: undefined, httpsProxy: undefined, noProxy: [] },
  keepAliveSeconds: 60,
  tokenSeconds: 86_400,
  answerTimeout: 700,
}

const connectionTo = (id: string, protocol: HubProtocol): string =>
  bench.deviceConnectionString(id, { webSocket: protocol === 'mqtt/ws' })

function real(protocol: HubProtocol = 'mqtt'): Side & { readonly id: string } {
  const id = `device-${count++}`
  bench.createDevice(id)
  const identity = new ConnectionStringIdentity(() => connectionTo(id, protocol))
  const hub = new IotHub({ ...settings, protocol, identity, ca: bench.ca })
  return {
    id,
    hub,
    setDesired: value => void bench.updateDesired(id, { value, list: [value] }),
    reported: () => bench.getTwin(id).properties.reported,
    onRead: then => bench.onEvent(event => event.type === 'twinRead' && event.deviceId === id && then()),
    async call(name, payload) {
      await bench.waitFor(() => bench.isSubscribed(id, METHOD_CALLS))
      return bench.invokeMethod(id, name, payload, { responseMs: 5000 })
    },
  }
}

function fake(): Side {
  const device = new FakeDevice()
  return {
    hub: device.plainPorts().hub,
    setDesired: value => device.patchDesired({ value, list: [value] }),
    reported: () => device.reported as Record<string, unknown>,
    async call(name, payload) {
      const already = device.answers.length
      device.call(name, payload)
      await setImmediate()
      return device.answers[already] as MethodAnswer
    },
  }
}

/** The next desired patches, one by one. */
function patchesOf(connection: HubConnection): () => Promise<Record<string, unknown>> {
  const waiting: ((patch: Record<string, unknown>) => void)[] = []
  const come: Record<string, unknown>[] = []
  connection.onDesired(patch => {
    const next = waiting.shift()
    if (next) next(patch as Record<string, unknown>)
    else come.push(patch as Record<string, unknown>)
  })
  return () =>
    new Promise(resolve =>
      come[0] ? resolve(come.shift() as object as Record<string, unknown>) : waiting.push(resolve),
    )
}

for (const [name, make] of [
  ['the fake', fake],
  ['the device SDK on the bench hub', () => real('mqtt')],
  ['the device SDK on the bench hub, over a WebSocket', () => real('mqtt/ws')],
] as const) {
  describe(`Hub: ${name}`, () => {
    test('reads the whole twin, reports, and reads the report', async () => {
      const side = make()
      side.setDesired(1)
      const connection = await side.hub.connect(signal)
      const { desired } = (await connection.readTwin(signal)) as { desired: Record<string, unknown> }
      assert.equal(desired.value, 1)
      assert.equal(typeof desired.$version, 'number')
      await connection.report({ part: { __t: 'c', state: 6, gone: 1 } }, signal)
      await connection.report({ part: { state: 0, gone: null } }, signal)
      assert.deepEqual(side.reported().part, { __t: 'c', state: 0 })
      const { reported } = (await connection.readTwin(signal)) as { reported: { part: { state: number } } }
      assert.equal(reported.part.state, 0)
      await connection.close()
    })

    test('passes each patch on as it is, once, in order; a read is no patch', async () => {
      const side = make()
      const connection = await side.hub.connect(signal)
      await connection.readTwin(signal)
      const next = patchesOf(connection)
      side.setDesired(1)
      assert.deepEqual((await next()).list, [1])
      await connection.readTwin(signal)
      side.setDesired(2)
      side.setDesired(3)
      const [second, third] = [await next(), await next()]
      assert.deepEqual([second.value, third.value], [2, 3])
      assert.equal(third.$version, (second.$version as number) + 1)
      await connection.close()
    })

    test('a patch that comes before the listener, or on the heels of a read, is not lost', async () => {
      const side = make()
      const connection = await side.hub.connect(signal)
      side.setDesired(1)
      await connection.readTwin(signal)
      const next = patchesOf(connection)
      assert.equal((await next()).value, 1)
      const end = side.onRead?.(() => side.setDesired(2))
      await connection.readTwin(signal)
      end?.()
      if (!end) side.setDesired(2)
      assert.equal((await next()).value, 2)
      await connection.close()
    })

    test('calls of every method come to the one who serves them, with what they brought', async () => {
      const side = make()
      const connection = await side.hub.connect(signal)
      const calls: unknown[] = []
      connection.serve(async (name, payload) => {
        calls.push([name, payload])
        return { status: 418, payload: { name } }
      })
      assert.deepEqual(await side.call('anything at all', { a: [1] }), {
        status: 418,
        payload: { name: 'anything at all' },
      })
      assert.deepEqual((await side.call('reboot', null)).status, 418)
      assert.deepEqual(calls, [
        ['anything at all', { a: [1] }],
        ['reboot', null],
      ])
      await connection.close()
    })

    test('close ends it', async () => {
      const connection = await make().hub.connect(signal)
      assert.equal(connection.lost.aborted, false)
      await connection.close()
      assert.equal(connection.lost.aborted, true)
    })
  })
}

for (const protocol of ['mqtt', 'mqtt/ws'] as const)
  describe(`the device SDK only, ${protocol}`, () => {
    const connected = async () => {
      const side = real(protocol)
      const connection = await side.hub.connect(signal)
      await connection.readTwin(signal)
      return { ...side, connection }
    }
    const isHubError = { name: 'HubError' }

    test('announces the model', async () => {
      const { id, connection } = await connected()
      assert.equal(bench.getTwin(id).modelId, settings.modelId)
      await connection.close()
    })

    for (const [what, change, message] of [
      [
        'a wrong key',
        (text: string) => text.replace(/SharedAccessKey=[^;]+/, `SharedAccessKey=${'A'.repeat(43)}=`),
        /not authorized/i,
      ],
      ['an unknown device', (text: string) => text.replace(/DeviceId=[^;]+/, 'DeviceId=nobody'), /not authorized/i],
      ['a closed port', (text: string) => text.replace(/localhost:\d+/, 'localhost:1'), /ECONNREFUSED/],
    ] as const) {
      test(`${what}: one HubError, without the key in it`, async () => {
        const { id } = real(protocol)
        const connectionString = change(connectionTo(id, protocol))
        const hub = new IotHub({
          ...settings,
          protocol,
          identity: new ConnectionStringIdentity(() => connectionString),
          ca: bench.ca,
        })
        await assert.rejects(hub.connect(signal), error => {
          assert.ok(error instanceof Error && error.name === 'HubError')
          assert.match(error.message, message)
          assert.doesNotMatch(error.message, /SharedAccessKey=[^…]/)
          return true
        })
      })
    }

    test('a key that was changed between two connections is used for the next one', async () => {
      const { id, hub } = real(protocol)
      const first = await hub.connect(signal)
      bench.rotateKeys(id)
      await first.close()
      const second = await hub.connect(signal)
      await second.readTwin(signal)
      await second.close()
      const stale = connectionTo(id, protocol)
      bench.rotateKeys(id)
      const identity = new ConnectionStringIdentity(() => stale)
      const old = new IotHub({ ...settings, protocol, identity, ca: bench.ca })
      await assert.rejects(old.connect(signal), { name: 'HubError', message: /not authorized/i })
    })

    test('an identity that cannot be had is a HubError, in words', async () => {
      const identity = new ConnectionStringIdentity(async () => Promise.reject(new Error('the key file is gone')))
      const hub = new IotHub({ ...settings, protocol, identity, ca: bench.ca })
      await assert.rejects(hub.connect(signal), { name: 'HubError', message: 'no identity: the key file is gone' })
    })

    test('an authority that nobody trusts is a HubError', async () => {
      const { id } = real(protocol)
      const hub = new IotHub({
        ...settings,
        protocol,
        identity: new ConnectionStringIdentity(() => connectionTo(id, protocol)),
        ca: undefined,
      })
      await assert.rejects(hub.connect(signal), { name: 'HubError', message: /certificate/ })
    })

    test('a dropped connection is lost, and what is under way fails', async () => {
      const { id, connection } = await connected()
      bench.faults.inject({ kind: 'twinAnswer', deviceId: id, to: 'patch', do: { do: 'lose' } })
      const report = assert.rejects(connection.report({ x: 1 }, signal), isHubError)
      bench.faults.inject({ kind: 'dropSockets', deviceId: id })
      await report
      assert.equal(connection.lost.aborted, true)
      await connection.close()
    })

    for (const to of ['get', 'patch'] as const) {
      const call = (connection: HubConnection) =>
        to === 'get' ? connection.readTwin(signal) : connection.report({ x: 1 }, signal)

      test(`an answer to ${to} that never comes means a lost connection`, async () => {
        const { id, connection } = await connected()
        bench.faults.inject({ kind: 'twinAnswer', deviceId: id, to, do: { do: 'lose' } })
        await assert.rejects(call(connection), { name: 'HubError', message: /no answer/ })
        assert.equal(connection.lost.aborted, true)
        await connection.close()
      })

      for (const body of ['json', 'empty', 'malformed'] as const) {
        test(`429 with a body that is ${body}, to ${to}: tried later, process alive`, async () => {
          const { id, connection } = await connected()
          bench.faults.inject({ kind: 'twinAnswer', deviceId: id, to, do: { do: 'fail', status: 429, body } })
          await assert.rejects(call(connection), { name: 'HubError', message: /\[429\]/ })
          await connection.close()
        })
      }

      test(`400 to ${to} is a rejection: the same again would be refused again`, async () => {
        const { id, connection } = await connected()
        bench.faults.inject({ kind: 'twinAnswer', deviceId: id, to, do: { do: 'fail', status: 400 } })
        await assert.rejects(call(connection), { name: 'HubRejection' })
        await connection.close()
      })
    }

    test('a report that is too large for the hub is a rejection, and the connection stays', async () => {
      const { connection } = await connected()
      await assert.rejects(connection.report({ x: 'y'.repeat(40_000) }, signal), { name: 'HubRejection' })
      await connection.report({ x: 1 }, signal)
      await connection.close()
    })

    test('a hub that forgot its sessions does no harm', async () => {
      const { id, hub, connection, setDesired } = await connected()
      await connection.close()
      bench.faults.inject({ kind: 'forgetSessions', deviceId: id })
      const again = await hub.connect(signal)
      await again.readTwin(signal)
      const next = patchesOf(again)
      setDesired(7)
      assert.equal((await next()).value, 7)
      await again.close()
    })

    test('a dead link is closed in time', async () => {
      const { id, connection } = await connected()
      bench.faults.inject({ kind: 'blackHole', deviceId: id })
      await assert.rejects(connection.report({ x: 1 }, signal), isHubError)
      const begun = performance.now()
      await connection.close()
      assert.ok(performance.now() - begun < 8000)
    })

    test('abort ends a wait at once, with its reason', async () => {
      const { id, connection } = await connected()
      bench.faults.inject({ kind: 'twinAnswer', deviceId: id, to: 'get', do: { do: 'lose' } })
      const stop = new AbortController()
      const reading = assert.rejects(connection.readTwin(stop.signal), { message: 'enough' })
      stop.abort(new Error('enough'))
      await reading
      await connection.close()
    })

    test('fifty connections one after another', async () => {
      const { hub, id } = real(protocol)
      for (let i = 0; i < 50; i++) {
        const connection = await hub.connect(signal)
        await connection.readTwin(signal)
        await connection.close()
      }
      assert.equal(bench.stats().get(id)?.connects, 50)
    })
  })

describe('what may reach the SDK', () => {
  const answer = (status: number, text: string) =>
    safePayload(`$iothub/twin/res/${status}/?$rid=1`, Buffer.from(text))?.toString()

  test('good answers, as they are', () => {
    assert.equal(answer(200, '{"desired":{},"reported":{}}'), '{"desired":{},"reported":{}}')
    assert.equal(answer(204, ''), '')
  })

  test('errors get a body with their status', () => {
    assert.equal(answer(429, ''), '{"errorCode":429000,"message":"[429] the hub gave no reason"}')
    assert.equal(answer(500, '<html>'), '{"errorCode":500000,"message":"[500] the hub gave no reason"}')
    assert.equal(
      answer(400, '{"errorCode":400004,"message":"too deep"}'),
      '{"errorCode":400000,"message":"[400] too deep"}',
    )
  })

  test('what would throw inside the SDK does not get there', () => {
    assert.equal(answer(200, ''), undefined)
    assert.equal(answer(200, '{"desired":'), undefined)
    assert.equal(answer(200, '[]'), undefined)
    assert.equal(safePayload('$iothub/twin/PATCH/properties/desired/?$version=2', Buffer.from('nonsense')), undefined)
    assert.equal(safePayload('$iothub/twin/PATCH/properties/desired/?$version=2', Buffer.from('')), undefined)
  })

  test('messages of other kinds pass', () => {
    assert.ok(safePayload('devices/d/messages/devicebound/', Buffer.from('any bytes')))
    assert.ok(safePayload('$iothub/methods/POST/m/?$rid=1', Buffer.from('')))
  })
})
