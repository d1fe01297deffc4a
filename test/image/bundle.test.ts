import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import mqttPacket from 'mqtt-packet'
import { buildAgent, PROGRAM } from '../../image/build/agent-bundle.ts'
import { leanMqtt } from '../../src/adapters/lean-mqtt.ts'
import { startBench } from '../bench/bench.ts'
import { startDevice } from '../bench/workbench/control.ts'

const isApplied = (reported: object): boolean => JSON.stringify(reported).includes('"resultCode":700')

test('the one-file agent takes an update as the built sources do', async () => {
  const home = await mkdtemp(join(tmpdir(), 'bundle-'))
  const bench = await startBench({ stateDir: join(home, 'bench') })
  try {
    const agent = join(home, 'agent')
    await buildAgent(agent)
    const program = join(agent, PROGRAM)
    const { stdout } = await promisify(execFile)(process.execPath, [program, '--version'])
    assert.match(stdout, /^\d+\.\d+\.\d+\n$/)
    const device = await startDevice(await bench.addDevice('pi1'), { agent: program })
    try {
      const bundle = await bench.buildBundle({ tree: { version: '2.0.0' } })
      bench.deploy('pi1', await bench.importBundle(bundle, '2.0.0'))
      await bench.hub.waitForReported('pi1', isApplied, { timeoutMs: 60_000 })
    } finally {
      await device.powerOff()
    }
  } finally {
    await bench.stop()
    await rm(home, { recursive: true, force: true })
  }
})

test('the switch of the MQTT codec is thrown on the copy that the MQTT client uses', async () => {
  leanMqtt()
  const { createRequire } = await import('node:module')
  const fromMqtt = createRequire(createRequire(import.meta.url).resolve('mqtt'))
  assert.equal(fromMqtt('mqtt-packet'), mqttPacket)
  assert.equal(fromMqtt('mqtt-packet').writeToStream.cacheNumbers, false)
})
