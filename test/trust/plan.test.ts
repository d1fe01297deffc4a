import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { explain } from '../../src/cli/verify/explain.ts'
import type { DeviceFacts } from '../../src/cli/verify/plan.ts'
import { type Attempt, JOURNAL_FORMAT } from '../../src/domain/attempt.ts'
import { lookAt } from '../../src/steps/look.ts'
import { CHILD_MANIFEST, CHILD_URLS, childOf, parentOf } from '../bench/authoring/child.ts'
import { publicNumbers } from '../bench/authoring/keys.ts'
import { cook, MANIFEST } from '../bench/authoring/recipe.ts'
import { newKeys } from './flaws/flaw.ts'

const keys = newKeys()
const builtIn = keys.roots.map(({ kid, privateKey }) => ({ kid, ...publicNumbers(privateKey) }))
const base = {
  anchors: { builtIn, configured: [] },
  compatibility: 'enforce',
  properties: { manufacturer: 'Contoso', model: 'Toaster' },
  rootKeyPackage: undefined,
  detached: [],
} as const
const { service } = cook(keys)
const criteria = MANIFEST.instructions.steps[0].handlerProperties.installedCriteria
const strict = { allowDowngrade: false }

async function asked(device: Partial<DeviceFacts>, more: { providers?: readonly string[] } = {}) {
  const facts = {
    downgrade: { allowDowngrade: true },
    attempt: undefined,
    lost: undefined,
    version: 'other',
    ...device,
  }
  const { verdict, reason, extendedResultCode, checks } = await explain(service, { ...base, ...more, device: facts })
  return { verdict, reason, code: extendedResultCode, checks }
}

test('says that it would install, and over what', async () => {
  const { verdict, reason } = await asked({})
  assert.equal(verdict, 'accept')
  assert.match(reason, /would install toaster\.swu: the system is "other"/)
})

test('says that the system is there already', async () => {
  const { verdict, reason } = await asked({ version: criteria })
  assert.equal(verdict, 'accept')
  assert.match(reason, /already: the agent would report success and install nothing/)
})

test('a version that is too low is refused, also where the system is there already', async () => {
  const before = { updateId: { ...MANIFEST.updateId, version: '9.0' }, installedCriteria: criteria }
  const attempt: Attempt = {
    ...{ format: JOURNAL_FORMAT, steps: [] },
    ...{
      workflow: { action: 3, id: 'before' },
      fingerprint: '',
      installs: 1,
      reboots: 2,
      milestones: [],
      reported: true,
    },
    ...{ origin: 'deviceUpdate', times: { begun: '2026-01-01T00:00:00.000Z' } },
    ...{ before, updateId: before.updateId, installedCriteria: criteria, installedTo: 'b' },
    result: { resultCode: 700, extendedResultCodes: [0], resultDetails: '' },
  }
  for (const reported of [true, false]) {
    const { verdict, code, reason, checks } = await asked({
      version: criteria,
      downgrade: strict,
      attempt: { ...attempt, reported },
    })
    assert.deepEqual([verdict, code], ['refuse', '32100015'])
    assert.match(reason, /older than 9\.0/)
    assert.equal(checks.find(({ name }) => name === 'downgrade')?.outcome, 'fail')
  }
  // Nothing was installed by it: it only found itself there.
  const { installedTo: _, before: __, ...skipped } = attempt
  assert.equal((await asked({ version: 'other', downgrade: strict, attempt: skipped })).verdict, 'accept')
})

test('a deployment that was answered is not done twice', async () => {
  const { workflow } = service as { workflow: Attempt['workflow'] }
  const { updateManifest, updateManifestSignature } = service as Record<string, string>
  const { createHash } = await import('node:crypto')
  const text = JSON.stringify([updateManifest, updateManifestSignature])
  const attempt: Attempt = {
    ...{ format: JOURNAL_FORMAT, steps: [] },
    ...{ workflow, installs: 1, reboots: 0, milestones: [], reported: true },
    ...{ origin: 'deviceUpdate', times: { begun: '2026-01-01T00:00:00.000Z' } },
    fingerprint: createHash('sha256').update(text).digest('base64'),
    result: { resultCode: 0, extendedResultCodes: [0x3010_1001], resultDetails: 'no' },
  }
  assert.match((await asked({ attempt })).reason, /has done this deployment, with the result 0, 30101001/)
})

test('only the providers that the owner names, where any is named', async () => {
  assert.equal((await asked({}, { providers: [] })).verdict, 'accept')
  assert.equal((await asked({}, { providers: ['fabrikam', MANIFEST.updateId.provider] })).verdict, 'accept')
  const { verdict, code, reason, checks } = await asked({}, { providers: ['fabrikam'] })
  assert.deepEqual([verdict, code], ['refuse', '32100061'])
  assert.match(reason, /^the provider "Contoso" is not one of fabrikam$/)
  assert.equal(checks.find(({ name }) => name === 'provider')?.outcome, 'fail')
})

test('of a tree it says whom each step is for, by the settings and the list of this device', async t => {
  const dir = await mkdtemp(join(tmpdir(), 'plan-'))
  t.after(() => rm(dir, { recursive: true }))
  const [list, settings] = [join(dir, 'list.json'), join(dir, 'steps.json')]
  const write = async (components: object, scripts = 'on') => {
    await writeFile(list, JSON.stringify({ components }), { mode: 0o644 })
    await writeFile(settings, JSON.stringify({ scripts: { run: scripts }, components: { file: list } }), {
      mode: 0o644,
    })
  }
  const step = {
    ...{ handler: 'microsoft/script:1', files: Object.keys(MANIFEST.files) },
    handlerProperties: { scriptFileName: 'toaster.swu', installedCriteria: '1' },
  }
  const child = childOf({ ...CHILD_MANIFEST, instructions: { steps: [step] } })
  const fileUrls = { ...CHILD_URLS, f06b052ef8f38d681: 'http://contoso.example/a.sh' }
  const tree = cook(keys, { manifest: parentOf(child), fileUrls }).service
  const told = async () => {
    const { reason, checks, extendedResultCode } = await explain(tree, {
      ...{ ...base, detached: [child.content], device: undefined, look: lookAt(settings) },
    })
    return `${extendedResultCode} ${reason} | ${checks.find(({ name }) => name === 'handler')?.detail}`
  }
  await write([{ id: '1', name: 'left motor', group: 'motors' }, { id: '2' }])
  const what = 'step 0.0 for the component "left motor"'
  assert.equal(
    await told(),
    `00000000 the agent would carry out microsoft/script:1 (${what}) | ${what}: microsoft/script:1`,
  )
  await write([{ id: '2' }])
  assert.match(
    await told(),
    /^00000000 the agent would carry out nothing for step 0 \| step 0: none of the 1 components/,
  )
  await write([{ id: '1', group: 'motors' }], 'off')
  assert.match(await told(), /^3210000E step 0\.0 for the component "1": .*to allow scripts/)
  await write([{ id: '1' }, { id: '1' }])
  assert.match(await told(), /^3040000A the list of components has two components with the id "1"/)
  await writeFile(settings, '{')
  assert.match(await told(), /^321000B1 .*is not JSON/)
})
