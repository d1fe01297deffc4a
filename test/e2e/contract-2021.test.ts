import assert from 'node:assert/strict'
import { EXTENDED_RESULT_CODE } from '../../src/domain/result-codes.ts'
import { type Client2021, clientOf, type End2021, order2021 } from '../bench/authoring/contract-2021.ts'
import type { JsonObject } from '../bench/hub/json.ts'
import { readBootEnv } from '../bench/workbench/boot-env.ts'
import { FAILING_CHECK } from '../bench/workbench/root-tree.ts'
import type { Pi } from './pi.ts'
import { startRig } from './rig.ts'

const rig = await startRig()
const { hub } = rig.bench

const flat = async (version: string, healthChecks: Readonly<Record<string, string>> = {}) => {
  const path = await rig.bench.buildBundle({ tree: { version, healthChecks } }, `image-${version}.swu`)
  const step = { handler: 'microsoft/swupdate:1', files: [path], handlerProperties: { installedCriteria: version } }
  return rig.bench.importBundle(path, version, { manifestVersion: '2.0', steps: [step] })
}
const two = await flat('2.0.0')
const sick = await flat('3.0.0', { '50-never': FAILING_CHECK })

const client = (pi: Pi): Client2021 => clientOf(pi.reported)
const state = (pi: Pi, wanted: number): Promise<unknown> =>
  pi.waitFor(() => client(pi).state === wanted, `state ${wanted}`)
const order = (pi: Pi, service: JsonObject): number => hub.updateDesired(pi.id, order2021(service))
/** Orders the download, and nothing after it. */
const download = (pi: Pi): void => rig.bench.orchestrate(pi.id, two).stop()
const CANCEL = { action: 255, updateManifest: null, updateManifestSignature: null, fileUrls: null }
const primary = async (pi: Pi) => (await readBootEnv(pi.folder.bootEnv))?.primary

const on2021 = { piAdu: { contract: '2021', health: { timeoutSeconds: 5 } } }

rig.test('each phase after its order; restarts and power cuts in between need no URL again', on2021, async pi => {
  await state(pi, 0)
  assert.equal((hub.getTwin(pi.id) as { modelId?: string }).modelId, 'dtmi:AzureDeviceUpdate;1')
  const content = rig.contentPath(two)
  download(pi)
  await state(pi, 2)
  assert.equal(await primary(pi), 'a')
  order(pi, { action: 0, fileUrls: null })
  process.kill(await pi.events.pid(), 'SIGKILL')
  await pi.powerCut()
  await pi.switchOn()
  order(pi, { action: 1 })
  await state(pi, 4)
  const { requests } = rig.bench.content.stats[content]!
  await pi.powerCut()
  await pi.switchOn()
  order(pi, { action: 1 })
  order(pi, { action: 2 })
  await pi.waitFor(() => client(pi).installedUpdateId !== undefined, 'the end')
  assert.deepEqual(
    { ...client(pi), deviceProperties: undefined },
    {
      ...{ state: 0, resultCode: 200, extendedResultCode: 0, deviceProperties: undefined },
      installedUpdateId: '{"provider":"contoso","name":"workbench","version":"2.0.0"}',
    },
  )
  assert.equal(await pi.version(), '2.0.0')
  assert.equal(rig.bench.content.stats[content]?.requests, requests)
})

rig.test(
  'a new system that fails: 255 with the code, Idle after the cancel, and the next update runs',
  on2021,
  async pi => {
    await state(pi, 0)
    const failing = rig.bench.orchestrate(pi.id, sick)
    assert.equal(await failing.ended, 'failed' satisfies End2021)
    const { extendedResultCode, resultCode } = failing.cloud.failure!
    assert.deepEqual([resultCode, extendedResultCode], [500, EXTENDED_RESULT_CODE.HEALTH | 0])
    assert.equal(client(pi).state, 0)
    assert.equal(await pi.version(), '1.0.0')
    assert.equal(await rig.bench.orchestrate(pi.id, two).ended, 'applied' satisfies End2021)
    assert.equal(await pi.version(), '2.0.0')
  },
)

rig.test('a cancel in the download and after each phase; then the same update runs', on2021, async pi => {
  await state(pi, 0)
  const content = rig.contentPath(two)
  rig.bench.content.faults[content] = { bytesPerSecond: 200_000 }
  const first = rig.bench.orchestrate(pi.id, two)
  await pi.events.waitFor('install.begin')
  first.cancel()
  assert.equal(await first.ended, 'cancelled' satisfies End2021)
  delete rig.bench.content.faults[content]
  for (const after of [2, 4]) {
    download(pi)
    await state(pi, 2)
    if (after === 4) order(pi, { action: 1, fileUrls: null })
    await state(pi, after)
    order(pi, CANCEL)
    await state(pi, 0)
    assert.equal(await primary(pi), 'a')
    assert.equal(await pi.version(), '1.0.0')
  }
  assert.equal(await rig.bench.orchestrate(pi.id, two).ended, 'applied' satisfies End2021)
  assert.equal(await pi.version(), '2.0.0')
})

rig.test('a manifest that changed after the download, and one that nobody signed: 255', on2021, async pi => {
  await state(pi, 0)
  download(pi)
  await state(pi, 2)
  const service = (hub.getTwin(pi.id).properties.desired as JsonObject).azureDeviceUpdateAgent as {
    service: JsonObject
  }
  order(pi, { action: 1, updateManifest: String(service.service.updateManifest).replace('2.0.0', '9.0.0') })
  await state(pi, 255)
  assert.equal(client(pi).extendedResultCode, EXTENDED_RESULT_CODE.MANIFEST_HASH | 0)
  order(pi, CANCEL)
  await state(pi, 0)
  assert.equal(await primary(pi), 'a')
})
