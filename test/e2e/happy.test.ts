import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { repositoryRoot } from '../../image/builder/repository.ts'
import { SLOT_BYTES } from '../bench/workbench/image.ts'
import { watchForCopies } from './copies.ts'
import { type Pi, startRig } from './rig.ts'

const rig = await startRig()
const two = await rig.system('2.0.0')
const { path, fileName } = two.files[0]!
const agentVersion: string = JSON.parse(readFileSync(join(repositoryRoot(), 'package.json'), 'utf8')).version

for (const manifestVersion of ['4', '5'] as const) {
  for (const handler of ['microsoft/swupdate:1', 'microsoft/swupdate:2']) {
    rig.test(`manifest version ${manifestVersion} with ${handler}`, {}, async pi => {
      const names = handler.endsWith(':2') ? { swuFileName: fileName } : {}
      const steps = [{ handler, files: [path], handlerProperties: { installedCriteria: '2.0.0', ...names } }]
      const id = pi.deploy(await rig.bench.importBundle(path, '2.0.0', { manifestVersion, steps }))
      await pi.expectResult(id, { resultCode: 700, version: '2.0.0' })
    })
  }
}

rig.test('manifest version 2', {}, async pi => {
  const steps = [{ handler: 'microsoft/swupdate:1', files: [path], handlerProperties: { installedCriteria: '2.0.0' } }]
  const id = pi.deploy(await rig.bench.importBundle(path, '2.0.0', { manifestVersion: '2', steps }))
  await pi.expectResult(id, { resultCode: 700, version: '2.0.0' })
})

rig.test('the manifest of the 2021 documentation, field for field', { a: { version: '0.9' } }, async pi => {
  const { files } = await rig.bench.importBundle(
    await rig.bench.buildBundle({ tree: { version: '1.0' } }, 'image.swu'),
    '1.0',
  )
  const { sizeInBytes, sha256 } = files[0]!
  const manifest = `{"manifestVersion":"1",
 "updateId":{"provider":"DuTest","name":"DuTestUser","version":"2020.611.534.16"},
 "updateType":"microsoft/swupdate:1",
 "installedCriteria":"1.0",
 "files":{"00000":{"fileName":"image.swu","sizeInBytes":${sizeInBytes},
   "hashes":{"sha256":"${sha256}"}}},
 "createdDateTime":"2020-06-12T00:38:13.9350278"}`
  const updateId = { provider: 'DuTest', name: 'DuTestUser', version: '2020.611.534.16' }
  const id = pi.deploy(
    { updateId, manifest, files: [{ ...files[0]!, fileId: '00000' }] },
    { fileUrls: { '00000': urlOf(files[0]!) } },
  )
  const report = await pi.expectResult(id, { resultCode: 700, version: '1.0' })
  assert.equal(report.installedUpdateId, '{"provider":"DuTest","name":"DuTestUser","version":"2020.611.534.16"}')
})

rig.test('what the twin is told, word for word, in few messages', {}, async pi => {
  await pi.ready()
  const startup = pi.stats().messagesIn
  // Our own property follows what lasts for seconds: on a slow machine more of it.
  let own = 0
  rig.bench.hub.onReported((id, patch) => {
    if (id === pi.id && 'piAdu' in patch) own += 1
  })
  const id = pi.deploy(two)
  const av = rig.bench.hub.getTwin(pi.id).properties.desired.$version
  await pi.expectResult(id, { resultCode: 700, version: '2.0.0' })

  const workflow = { action: 3, id }
  const installedUpdateId = '{"provider":"contoso","name":"workbench","version":"2.0.0"}'
  const done = { resultCode: 700, extendedResultCodes: '00000000' }
  assert.deepEqual(pi.reports, [
    {
      state: 6,
      workflow,
      lastInstallResult: { resultCode: 400, extendedResultCodes: '00000000', resultDetails: null, stepResults: null },
    },
    {
      state: 0,
      workflow,
      installedUpdateId,
      lastInstallResult: { ...done, resultDetails: '', stepResults: { step_0: { ...done, resultDetails: null } } },
    },
  ])
  const { deviceUpdate, deviceInformation, ...rest } = pi.reported
  assert.deepEqual(deviceUpdate, {
    __t: 'c',
    agent: {
      deviceProperties: {
        manufacturer: 'contoso',
        model: 'workbench',
        contractModelId: 'dtmi:azure:iot:deviceUpdateContractModel;3',
        aduVer: `DU;agent/${agentVersion}`,
      },
      compatPropertyNames: 'manufacturer,model',
      state: 0,
      workflow,
      installedUpdateId,
      // A null in a report removes.
      lastInstallResult: { ...done, resultDetails: '', stepResults: { step_0: done } },
    },
    service: { value: { workflow }, ac: 200, ad: '', av },
  })
  const { manufacturer, model, totalMemory, totalStorage, ...information } = deviceInformation as Record<
    string,
    unknown
  >
  assert.deepEqual({ manufacturer, model }, { manufacturer: 'contoso', model: 'workbench' })
  assert.ok(Number(totalMemory) > 0 && Number(totalStorage) > 0)
  for (const name of Object.keys(information)) {
    assert.match(name, /^(__t|osName|swVersion|processorArchitecture|processorManufacturer)$/)
  }
  assert.deepEqual(
    Object.keys(rest).filter(name => !name.startsWith('$') && name !== 'piAdu'),
    [],
  )
  assert.equal(rig.bench.hub.getTwin(pi.id).modelId, 'dtmi:azure:iot:deviceUpdateModel;3')

  const messages = pi.stats().messagesIn - startup - own
  assert.ok(messages <= 6, `${messages} messages`)
})

rig.test(
  'additional properties and names of compatibility properties',
  {
    configure(config) {
      config.compatPropertyNames = 'manufacturer,model,region'
      const [agent] = config.agents as Record<string, unknown>[]
      agent!.additionalDeviceProperties = { region: 'eu' }
    },
  },
  async pi => {
    await pi.ready()
    const agent = (pi.reported.deviceUpdate as Record<string, Record<string, unknown>>).agent!
    assert.deepEqual(agent, {
      deviceProperties: {
        manufacturer: 'contoso',
        model: 'workbench',
        region: 'eu',
        contractModelId: 'dtmi:azure:iot:deviceUpdateContractModel;3',
        aduVer: `DU;agent/${agentVersion}`,
      },
      compatPropertyNames: 'manufacturer,model,region',
    })
  },
)

rig.test(
  'already installed: nothing is fetched, nothing is said to be in progress',
  { a: { version: '2.0.0' } },
  async pi => {
    const before = { ...rig.bench.content.stats[rig.contentPath(two)] }
    const id = pi.deploy(two)
    await pi.expectResult(id, { resultCode: 700, version: '2.0.0', details: /already installed/ })
    assert.deepEqual(pi.reports, [
      {
        state: 0,
        workflow: { action: 3, id },
        installedUpdateId: '{"provider":"contoso","name":"workbench","version":"2.0.0"}',
        lastInstallResult: {
          resultCode: 700,
          extendedResultCodes: '00000000',
          resultDetails: 'already installed',
          stepResults: {
            step_0: { resultCode: 603, extendedResultCodes: '00000000', resultDetails: 'already installed' },
          },
        },
      },
    ])
    assert.deepEqual({ ...rig.bench.content.stats[rig.contentPath(two)] }, before)
    assert.equal(await pi.power.bootCount(), 1)
  },
)

rig.test('no copy of the image lies anywhere but in the slot', {}, async pi => {
  // Slow enough that there is much to see.
  rig.bench.content.faults[rig.contentPath(two)] = { bytesPerSecond: 4 << 20 }
  await pi.ready()
  const watch = watchForCopies(pi.folder)
  try {
    const id = pi.deploy(two)
    await pi.events.waitFor('install.end')
    const { found, looks } = await watch.stop()
    assert.deepEqual(found, [])
    assert.ok(looks >= 5, `looked ${looks} times`)
    await pi.expectResult(id, { resultCode: 700, version: '2.0.0' })
  } finally {
    delete rig.bench.content.faults[rig.contentPath(two)]
    await watch.stop()
  }
})

const refusesVariable = async (pi: Pi, bootEnv: Readonly<Record<string, string>>, name: string): Promise<void> => {
  const id = pi.deploy(await rig.system('3.0.0', { bundle: { bootEnv } }))
  const { resultCode, extendedResultCodes, resultDetails } = (await pi.settled(id)).lastInstallResult
  assert.deepEqual([resultCode, extendedResultCodes], [0, '3210002D'], resultDetails ?? '')
  assert.match(resultDetails ?? '', new RegExp(`line \\d+ of sw-description has the bootloader variable "?${name}\\b`))
}

rig.test('a bundle that sets bootloader variables itself is refused', {}, pi =>
  refusesVariable(pi, { own: 'value' }, 'own'),
)

const allowed = { piAdu: { bundle: { allow: ['bootenv'] } } }
rig.test('the owner may allow bootloader variables, but never those of the boot state', allowed, async pi => {
  const own = await rig.system('2.0.0', { bundle: { bootEnv: { own: 'value' } } })
  await pi.expectResult(pi.deploy(own), { resultCode: 700, version: '2.0.0' })
  for (const name of ['primary', 'trial', 'tries']) await refusesVariable(pi, { own: 'value', [name]: 'a' }, name)
})

rig.test('ten deployments in a row, to and fro', {}, async pi => {
  const three = await rig.system('3.0.0')
  for (let count = 1; count <= 10; count++) {
    const [update, version] = count % 2 === 1 ? [three, '3.0.0'] : [two, '2.0.0']
    await pi.expectResult(pi.deploy(update), { resultCode: 700, version })
  }
  const { boots } = await pi.power.status()
  assert.equal(boots.map(({ slot }) => slot).join(''), 'abababababa')
})

function urlOf(file: { readonly fileId: string; readonly fileName: string }): string {
  return rig.bench.content.url(`${file.fileId}/${file.fileName}`)
}

rig.test('what the other slot holds already is not written again', { b: { version: '2.0.0' } }, async pi => {
  const id = pi.deploy(two)
  await pi.expectResult(id, { resultCode: 700, version: '2.0.0' })
  const [compared] = await pi.log.lines('slot.compared')
  assert.equal(compared?.written, 0)
  assert.equal(compared?.kept, SLOT_BYTES)
})
