import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import test from 'node:test'
import { DpsClient } from '../../src/adapters/dps/dps-client.ts'
import { limited } from '../../src/adapters/iot-hub/limited.ts'

// A stop that comes before a call: its reason, and nothing that ends the process later.

const enough = new Error('enough')
const stopped = AbortSignal.abort(enough)

test('a call that fails after the stop is not an unhandled rejection', async t => {
  const unhandled: unknown[] = []
  const note = (error: unknown): void => void unhandled.push(error)
  process.on('unhandledRejection', note)
  t.after(() => process.off('unhandledRejection', note))
  const fails = new Promise<never>((_, reject) => setImmediate(reject, new Error('later')))
  await assert.rejects(limited(fails, 1000, 'no answer', stopped), error => error === enough)
  const failed = Promise.reject(new Error('at once'))
  await assert.rejects(limited(failed, 1000, 'no answer', stopped), error => error === enough)
  await new Promise(resolve => setTimeout(resolve, 50))
  assert.deepEqual(unhandled, [])
})

test('no registration begins after the stop', async t => {
  let connections = 0
  const server = createServer(socket => {
    connections += 1
    socket.destroy()
  }).listen(0, '127.0.0.1')
  t.after(() => server.close())
  await once(server, 'listening')
  const client = new DpsClient({
    ...{ host: `127.0.0.1:${(server.address() as AddressInfo).port}`, idScope: '0ne1', payload: undefined },
    ...{ protocol: 'mqtt', ca: undefined, time: { behind: () => 0 } },
    proxies: { httpProxy: undefined, httpsProxy: undefined, noProxy: [] },
  })
  const auth = { kind: 'symmetricKey', key: 'AAAA', keyName: undefined } as const
  await assert.rejects(client.register({ registrationId: 'pi', auth }, stopped), error => error === enough)
  await new Promise(resolve => setTimeout(resolve, 50))
  assert.equal(connections, 0)
})
