import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import mqttPacket from 'mqtt-packet'
import { buildAgent, PROGRAM, STEPS_PROGRAM } from '../../image/builder/agent-bundle.ts'
import { leanMqtt } from '../../src/adapters/iot-hub/lean-mqtt.ts'
import { startBench } from '../bench/bench.ts'
import { startDevice } from '../bench/workbench/control.ts'

const isApplied = (reported: object): boolean => JSON.stringify(reported).includes('"resultCode":700')

for (const iotHubProtocol of ['mqtt', 'mqtt/ws'] as const)
  test(`the bundled agent takes an update as the built sources do, by ${iotHubProtocol}`, async () => {
    const home = await mkdtemp(join(tmpdir(), 'bundle-'))
    const bench = await startBench({ stateDir: join(home, 'bench') })
    try {
      const agent = join(home, 'agent')
      await buildAgent(agent)
      const program = join(agent, PROGRAM)
      const { stdout } = await promisify(execFile)(process.execPath, [program, '--version'])
      assert.match(stdout, /^\d+\.\d+\.\d+\n$/)
      const device = await startDevice(await bench.addDevice('pi1', { iotHubProtocol }), { agent: program })
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

test('the step service stands beside the agent, and loads nothing of the SDK, not even later', async () => {
  const home = await mkdtemp(join(tmpdir(), 'bundle-'))
  try {
    await buildAgent(home)
    const { stdout } = await promisify(execFile)(process.execPath, [join(home, STEPS_PROGRAM), '--help'])
    assert.match(stdout, /^Usage: pi-adu-steps /)
    const withSdk = await piecesOf(home, PROGRAM)
    assert.ok([...withSdk.values()].some(text => text.includes('azure-iot-device')))
    const pieces = await piecesOf(home, STEPS_PROGRAM)
    for (const [name, text] of pieces) assert.doesNotMatch(text, /azure-iot|mqtt-packet/, name)
    const size = [...pieces.values()].reduce((sum, text) => sum + text.length, 0)
    assert.ok(size < 400_000, `${size} bytes`)
  } finally {
    await rm(home, { recursive: true, force: true })
  }
})

/** The program with every piece that it may ever load, by name. */
async function piecesOf(folder: string, name: string, found = new Map<string, string>()): Promise<Map<string, string>> {
  if (found.has(name)) return found
  const text = await readFile(join(folder, name), 'utf8')
  found.set(name, text)
  for (const [, piece = ''] of text.matchAll(/["']\.\/([\w-]+\.mjs)["']/g)) await piecesOf(folder, piece, found)
  return found
}

test('the switch of the MQTT codec is thrown on the copy that the MQTT client uses', async () => {
  leanMqtt()
  const { createRequire } = await import('node:module')
  const fromMqtt = createRequire(createRequire(import.meta.url).resolve('mqtt'))
  assert.equal(fromMqtt('mqtt-packet'), mqttPacket)
  assert.equal(fromMqtt('mqtt-packet').writeToStream.cacheNumbers, false)
})
