import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, describe } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import fc from 'fast-check'
import { ConnectionStringIdentity } from '../../src/adapters/identity/connection-string.ts'
import { IotHub } from '../../src/adapters/iot-hub/iot-hub.ts'
import { leanMqtt } from '../../src/adapters/iot-hub/lean-mqtt.ts'
import type { HubConnection } from '../../src/ports/hub.ts'
import { startHub } from '../bench/hub/hub.ts'
import { METHOD_CALLS } from '../bench/hub/topics.ts'

/** Topics and payloads by the thousand that no hub would send, through the real SDK: what comes is an error or nothing. */

const MESSAGES = 1500
const SEED = Number(process.env.SEED ?? 14)

const signal = new AbortController().signal
const folder = await mkdtemp(join(tmpdir(), 'hostile-hub-'))
const bench = await startHub({ stateDir: folder })
const uncaught: unknown[] = []
const note = (error: unknown): void => void uncaught.push(error)
process.prependListener('uncaughtException', note).prependListener('unhandledRejection', note)
after(async () => {
  process.off('uncaughtException', note).off('unhandledRejection', note)
  await bench.stop()
  await rm(folder, { recursive: true })
})
leanMqtt()
bench.createDevice('victim')
const hub = new IotHub({
  identity: new ConnectionStringIdentity(() => bench.deviceConnectionString('victim')),
  modelId: '',
  productInfo: 'test',
  ca: bench.ca,
  protocol: 'mqtt' as const,
  proxies: { httpProxy: undefined, httpsProxy: undefined, noProxy: [] },
  keepAliveSeconds: 60,
  tokenSeconds: 86_400,
  answerTimeout: 5000,
  time: { behind: () => 0, seen: async () => {}, explain: message => message },
})

const calls: string[] = []
let served: HubConnection | undefined
async function connection(): Promise<HubConnection> {
  if (served && !served.lost.aborted) return served
  await served?.close()
  served = await hub.connect(signal)
  served.onDesired(patch => JSON.stringify(patch))
  served.serve(async name => {
    calls.push(name)
    return { status: 200, payload: null }
  })
  await bench.waitFor(() => bench.isSubscribed('victim', METHOD_CALLS))
  return served
}

/** Sends one message in the middle of a twin read and a report; whether the connection outlived it. */
async function strike(topic: string, payload: Buffer | string): Promise<boolean> {
  const target = await connection()
  const end = bench.onEvent(event => event.type === 'twinRead' && bench.publishRaw('victim', topic, payload))
  bench.publishRaw('victim', topic, payload)
  await Promise.allSettled([target.readTwin(signal), target.report({ at: null }, signal)])
  end()
  await setImmediate()
  return !target.lost.aborted
}

const DESIRED = '$iothub/twin/PATCH/properties/desired/?$version=2'
const deep = (levels: number): string => `${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`

describe('a hub that sends nonsense', () => {
  for (const [what, topic, payload, survives] of [
    ['a method without a name', '$iothub/methods/POST//?$rid=1', '{}', true],
    ['a method without a name or a slash', '$iothub/methods/POST/?$rid=1', '{}', true],
    ['a method without $rid', '$iothub/methods/POST/reboot/', '{}', true],
    ['a method with an empty $rid', '$iothub/methods/POST/reboot/?$rid=', '{}', true],
    ['a method with $rid twice', '$iothub/methods/POST/reboot/?$rid=1&$rid=2', '{}', true],
    ['a method with a wildcard as $rid', '$iothub/methods/POST/reboot/?$rid=%23#', '{}', true],
    ['a method without a body', '$iothub/methods/POST/reboot/?$rid=1', '', true],
    ['a method of 60,000 levels', '$iothub/methods/POST/reboot/?$rid=1', '['.repeat(60_000), true],
    ['a message to the device', 'devices/victim/messages/devicebound/%zz=%', 'x', true],
    ['a message of another device', 'devices/other/messages/devicebound/%E0%A4%A=1', 'x', true],
    ['a patch of 60,000 levels', DESIRED, deep(15_000), false],
    ['a patch of 60,000 lists', DESIRED, `{"a":${'['.repeat(60_000)}${']'.repeat(60_000)}}`, false],
    ['a patch of 1 MiB', DESIRED, `{"a":"${'x'.repeat(1 << 20)}"}`, false],
    ['a patch that is a list', DESIRED, '[1]', false],
    ['a patch with names of the SDK', DESIRED, '{"__proto__":{"x":1},"constructor":{"prototype":{"x":1}}}', true],
    ['a patch that names an event', DESIRED, '{"error":1,"newListener":2,"removeListener":3}', true],
  ] as const) {
    test(what, async () => {
      assert.equal(await strike(topic, payload), survives)
      assert.deepEqual(uncaught, [])
      await (await connection()).readTwin(signal)
    })
  }

  for (const [what, topic, body] of [
    ['204 to a read', '204', ''],
    ['202 with null', '202', 'null'],
    ['200 with a twin that is null', '200', 'null'],
    ['200 without desired', '200', '{"reported":{}}'],
    ['200 with texts', '200', '{"desired":"x","reported":"y"}'],
    ['200 of 60,000 levels', '200', `{"desired":${deep(15_000)},"reported":{}}`],
    ['a status of two digits', '20', 'null'],
    ['a status that is a word', 'ok', 'null'],
    ['a status of nothing', '', 'null'],
  ] as const) {
    test(`${what} as the answer to a read is an error, and the next connection is good`, async () => {
      const target = await connection()
      bench.faults.inject({ kind: 'twinAnswer', deviceId: 'victim', to: 'get', do: { do: 'lose' } })
      const end = bench.onEvent(event => {
        if (event.type === 'request') bench.publishRaw('victim', `$iothub/twin/res/${topic}/?$rid=${event.rid}`, body)
      })
      await assert.rejects(target.readTwin(AbortSignal.timeout(1000)))
      end()
      await target.close()
      assert.deepEqual(uncaught, [])
      await (await connection()).readTwin(signal)
    })
  }

  test('a reported property named update, as the SDK names its function, does not stop the reports', async () => {
    const target = await connection()
    await target.report({ update: 'mine' }, signal)
    await target.readTwin(signal)
    await target.report({ other: 1 }, signal)
    assert.deepEqual(bench.getTwin('victim').properties.reported.other, 1)
    await target.report({ update: null }, signal)
  })

  test(`${MESSAGES} random messages: nothing uncaught`, { timeout: 300_000 }, async t => {
    const word = fc.oneof(
      fc.constantFrom('POST', 'twin', 'res', 'methods', '$iothub', 'PATCH', 'properties', 'desired', 'reported', ''),
      fc.constantFrom(
        '200',
        '204',
        '400',
        '429',
        '99999',
        '-1',
        'devices',
        'messages',
        'victim',
        '%zz',
        '%E0%A4%A',
        '//',
      ),
      fc.string({ maxLength: 12 }),
    )
    const query = fc.constantFrom(
      '',
      '?',
      '?$rid',
      '?$rid=',
      '?$rid=1',
      '?$rid=1&$rid=2',
      '?$version=x',
      '?%zz',
      '?$rid=a/b',
    )
    const stems = [
      '$iothub/methods/POST/',
      '$iothub/twin/res/',
      '$iothub/twin/PATCH/properties/desired/',
      'devices/victim/messages/devicebound/',
      '',
    ]
    const topics = fc
      .tuple(fc.constantFrom(...stems), fc.array(word, { maxLength: 4 }), query)
      .map(([stem, words, end]) => `${stem}${words.join('/')}${end}`.slice(0, 2000))
      // The bench's own codec refuses these.
      .filter(topic => topic !== '' && !/[\0+#]/.test(topic))
    const payloads = fc.oneof(
      fc.json({ maxDepth: 6 }),
      fc.json({ maxDepth: 6 }).map(text => text.slice(0, text.length >> 1)),
      fc.object({ maxDepth: 4 }).map(value => JSON.stringify({ ...value, $version: 2 })),
      fc.uint8Array({ maxLength: 64 }).map(bytes => Buffer.from(bytes)),
      fc.constantFrom('', 'null', '0', '[]', '{}', '{"errorCode":1}', '{"$version":1e400}', '\uFEFF{}', deep(70)),
    )
    let lost = 0
    for (const [topic, payload] of fc.sample(fc.tuple(topics, payloads), { numRuns: MESSAGES, seed: SEED })) {
      if (!(await strike(topic, payload))) lost += 1
      assert.deepEqual(uncaught, [], `after ${JSON.stringify([topic, payload.toString()])}`)
    }
    t.diagnostic(`${lost} connections ended, ${calls.length} calls were well formed`)
    await (await connection()).readTwin(signal)
    await served?.close()
  })
})
