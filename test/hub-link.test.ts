import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { ConnectionStringIdentity } from '../src/adapters/identity/connection-string.ts'
import { IotHub } from '../src/adapters/iot-hub/iot-hub.ts'
import { systemClock } from '../src/adapters/system/clock.ts'
import { HubLink } from '../src/hub/link.ts'
import type { AgentEvent } from '../src/view/event.ts'
import { startHub } from './bench/hub/hub.ts'

test('a patch was missed and the re-read is refused: the link starts over, and hears what comes later', async t => {
  const folder = await mkdtemp(join(tmpdir(), 'hub-link-'))
  const bench = await startHub({ stateDir: folder })
  t.after(async () => {
    await bench.stop()
    await rm(folder, { recursive: true })
  })
  bench.createDevice('pi')
  const hub = new IotHub({
    identity: new ConnectionStringIdentity(() => bench.deviceConnectionString('pi')),
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
  const said: unknown[] = []
  const log = {
    debug() {},
    info() {},
    error() {},
    warn: (event: string, fields?: object) => said.push({ event, ...fields }),
  }
  const events = { tell: (event: AgentEvent) => void said.push(event), saw() {} }
  let wake = (): void => {}
  let value: unknown
  const link = new HubLink(
    { hub, clock: systemClock, log, events },
    {
      connectionLifetime: 3600_000,
      onConnected: async () => {},
      onDesired: desired => {
        value = (desired as { value?: unknown }).value
        wake()
      },
      onLost: () => {},
      onMethod: async () => ({ status: 200, payload: null }),
    },
  )
  const stop = new AbortController()
  const running = assert.rejects(link.run(stop.signal), { message: 'enough' })
  const sees = async (wanted: number) => {
    while (value !== wanted) {
      await new Promise<void>(resolve => {
        wake = resolve
      })
    }
  }
  bench.updateDesired('pi', { value: 1 })
  await sees(1)

  const miss = (lost: number, next: number): void => {
    bench.faults.inject({ kind: 'loseDesired', deviceId: 'pi' })
    bench.updateDesired('pi', { value: lost })
    bench.updateDesired('pi', { value: next })
  }
  bench.faults.inject({ kind: 'twinAnswer', deviceId: 'pi', to: 'get', do: { do: 'fail', status: 400 } })
  miss(2, 3)
  await sees(3)
  assert.match(JSON.stringify(said), /hub\.lost.*a patch was missed, and reading the twin again failed: \[400\]/)
  assert.equal(bench.stats().get('pi')?.connects, 2)

  miss(4, 5)
  await sees(5)
  assert.equal(bench.stats().get('pi')?.connects, 2)
  stop.abort(new Error('enough'))
  await running
})
