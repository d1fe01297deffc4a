import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import test, { describe } from 'node:test'
import { EXTENDED_RESULT_CODE, RESULT_CODE } from '../../src/domain/result-codes.ts'
import type { StepResult } from '../../src/domain/step-record.ts'
import { IMAGES_ONLY } from '../../src/handlers/capabilities.ts'
import type { ContentPart } from '../../src/ports/content.ts'
import type { Steps, Verb } from '../../src/ports/steps.ts'
import { AgentRestart } from '../../src/workflow/perform/restart-agent.ts'
import { clientOf } from '../bench/authoring/contract-2021.ts'
import { type Disturbance, type FakeDevice, OPTIONS } from '../workflow/fake-device.ts'
import { cloudFor, newDevice } from './cloud.ts'

// This process has only devices that install packages.
Object.assign(OPTIONS.twin.trust, { steps: { ...IMAGES_ONLY, packages: 'yes' } })

const APT_MANIFEST = Buffer.from(JSON.stringify({ name: 'tools', version: '1.0', packages: [{ name: 'tool' }] }))
const URL = 'https://content.test/tools.json'

/** A step service in memory that outlives power cuts, as the orders' records do. */
class FakeSteps {
  readonly ran: Verb[] = []
  readonly results: Partial<Record<Verb, number>>
  readonly #known = new Map<string, StepResult>()
  isApplied = false

  constructor(results: Partial<Record<Verb, number>> = {}) {
    this.results = results
  }

  readonly port: Steps = {
    run: async ({ id, verb }) => {
      const known = this.#known.get(id)
      if (known) return known
      if (verb === 'isInstalled') {
        const resultCode = this.isApplied ? RESULT_CODE.isInstalled : RESULT_CODE.isNotInstalled
        return { resultCode, extendedResultCode: 0, resultDetails: '' }
      }
      this.ran.push(verb)
      const resultCode = this.results[verb] ?? { download: 500, install: 600, apply: 700, cancel: 800 }[verb]
      const extendedResultCode = resultCode > 0 ? 0 : EXTENDED_RESULT_CODE.APT_INSTALL
      if (verb === 'apply' && resultCode > 0) this.isApplied = true
      const result = { resultCode, extendedResultCode, resultDetails: '' }
      this.#known.set(id, result)
      return result
    },
  }
}

async function part(url: string): Promise<ContentPart> {
  assert.equal(url, URL)
  async function* body(): AsyncGenerator<Buffer> {
    yield APT_MANIFEST
  }
  return { first: 0, last: APT_MANIFEST.length - 1, total: APT_MANIFEST.length, etag: '"1"', body: body() }
}

/** A device with a step service, and the flat manifest of an APT manifest. */
function ordered(steps: FakeSteps, disturbances: readonly Disturbance[] = []) {
  const device = newDevice(disturbances)
  const plain = device.plainPorts.bind(device)
  device.plainPorts = () => ({ ...plain(), steps: steps.port, content: { get: async url => part(url) } })
  const updateId = { provider: 'contoso', name: 'tools', version: '1.0' }
  const manifest = JSON.stringify({
    ...{ manifestVersion: '2.0', updateId, updateType: 'microsoft/apt:1', installedCriteria: 'tools-1.0' },
    files: {
      '00000': {
        fileName: 'tools.json',
        sizeInBytes: APT_MANIFEST.length,
        hashes: { sha256: createHash('sha256').update(APT_MANIFEST).digest('base64') },
      },
    },
  })
  const order = { manifest, signature: device.sign(manifest), fileUrls: { '00000': URL } }
  return cloudFor(device, { ...order, updateId: JSON.stringify(updateId) })
}

async function run(steps: FakeSteps, disturbances: readonly Disturbance[] = []) {
  const all = ordered(steps, disturbances)
  for (;;) {
    try {
      await all.device.runUntil(all.hasEnded)
      return all
    } catch (error) {
      // Whoever starts the agent starts it again.
      if (!(error instanceof AgentRestart)) throw error
    }
  }
}

const statesOf = (device: FakeDevice) =>
  device.reports.map(each => clientOf(each as never).state).filter(state => state !== undefined)

describe('packages: each phase is one verb of the step', () => {
  test('download, install, apply, each after its order', async () => {
    const steps = new FakeSteps()
    const { device, cloud } = ordered(steps)
    const verbs: unknown[] = []
    const look = device.onReported
    device.onReported = () => {
      verbs.push([clientOf(device.reported as never).state, steps.ran.join()])
      look()
    }
    await device.runUntil(() => cloud.end !== undefined && device.journalReported)
    assert.equal(cloud.end, 'applied')
    assert.deepEqual(statesOf(device), [0, 2, 4, 0])
    for (const expected of [
      [2, 'download'],
      [4, 'download,install'],
      [0, 'download,install,apply'],
    ]) {
      assert.ok(
        verbs.some(each => JSON.stringify(each) === JSON.stringify(expected)),
        JSON.stringify([expected, verbs]),
      )
    }
  })

  test('a restart of the agent that the step asks for comes before the report of its phase', async () => {
    for (const results of [{ install: 607 }, { install: 605 }, { apply: 707 }, { install: 608, apply: 706 }]) {
      const steps = new FakeSteps(results)
      const { device, cloud } = await run(steps)
      assert.equal(cloud.end, 'applied', JSON.stringify(results))
      assert.deepEqual(steps.ran, ['download', 'install', 'apply'])
      assert.deepEqual(statesOf(device), [0, 2, 4, 0])
    }
  })

  test('a failure in each phase: 255, and nothing after it', async () => {
    const phases: Verb[] = ['download', 'install', 'apply']
    for (const [at, verb] of phases.entries()) {
      const steps = new FakeSteps({ [verb]: 0 })
      const { device, cloud } = await run(steps)
      assert.equal(cloud.end, 'failed')
      assert.deepEqual(steps.ran, phases.slice(0, at + 1))
      assert.deepEqual(statesOf(device), [0, ...[2, 4].slice(0, at), 255, 0])
      assert.equal(cloud.failure?.extendedResultCode, EXTENDED_RESULT_CODE.APT_INSTALL | 0)
    }
  })

  test('a cancel after the install: it is never applied, and the same update runs later', async () => {
    const steps = new FakeSteps()
    const { device, cloud } = ordered(steps)
    device.onReported = () =>
      void setImmediate(() => {
        if (clientOf(device.reported as never).state === 4) cloud.cancel()
        cloud.look(device.reported as never)
      })
    await device.runUntil(() => cloud.end !== undefined && device.journalReported)
    assert.equal(cloud.end, 'cancelled')
    assert.deepEqual(steps.ran, ['download', 'install'])
  })

  test('a power cut, and a kill, at each effect: each verb runs once, and it is applied', async () => {
    const { device } = await run(new FakeSteps())
    for (const how of ['cutBefore', 'cutAfter', 'killed'] as const) {
      for (const at of device.effects.keys()) {
        const steps = new FakeSteps()
        const { cloud } = await run(steps, [{ at, how }])
        const why = `${how} at ${at}, ${device.effects[at]}`
        assert.equal(cloud.end, 'applied', why)
        // A download may be repeated: it only gets what the step needs.
        assert.deepEqual(
          steps.ran.filter(verb => verb !== 'download'),
          ['install', 'apply'],
          why,
        )
      }
    }
  })
})
