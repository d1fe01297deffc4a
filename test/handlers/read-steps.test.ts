import assert from 'node:assert/strict'
import test from 'node:test'
import type { UpdateManifest, Verified } from '../../src/domain/deployment.ts'
import { Hosts } from '../../src/domain/hosts.ts'
import { systemUpdateOf } from '../../src/domain/system-update.ts'
import { IMAGES_ONLY } from '../../src/handlers/capabilities.ts'
import { readSteps } from '../../src/handlers/read-steps.ts'
import { Checks } from '../../src/trust/checks.ts'
import type { Judged } from '../../src/trust/judge.ts'
import { CHILD_ID, childOf, REFERENCE, treeOf } from '../bench/authoring/child.ts'
import { MANIFEST } from '../bench/authoring/recipe.ts'

type Fields = Record<string, unknown>

const ID = 'f06b052ef8f38d681'
const [STEP] = MANIFEST.instructions.steps
const ONE = { ...STEP, handler: 'microsoft/swupdate:1', handlerProperties: { installedCriteria: '9' } }
const CHILD = childOf()
const URLS = { [ID]: 'https://content.test/toaster.swu' }

/** What becomes of a manifest with `steps`, the rest of which is right. */
function read(
  steps: readonly Fields[],
  { fileUrls = URLS as Fields, hosts = undefined as Hosts | undefined, device = IMAGES_ONLY } = {},
) {
  const files = { ...MANIFEST.files, [CHILD_ID]: CHILD.entity }
  const manifest = parsed({ ...MANIFEST, instructions: { steps }, files })
  const checks = new Checks()
  return { deployment: readSteps(judged(manifest, fileUrls), hosts, checks, device), checks: checks.list }
}

const parsed = (manifest: object) => treeOf(manifest, [CHILD])

const SIGNED = { manifest: '', signature: '', detached: [] }

const judged = (manifest: Verified<UpdateManifest>, fileUrls: Fields = URLS): Judged => ({
  ...{ kind: 'deploy', workflow: { action: 3, id: 'W' }, fingerprint: 'F' },
  ...{ manifest, signed: SIGNED, fileUrls },
})

function refusal(...given: Parameters<typeof read>): string {
  const { deployment } = read(...given)
  assert.equal(deployment.kind, 'refuse')
  return deployment.kind === 'refuse' ? `${deployment.error.code}: ${deployment.error.message}` : ''
}

test('each handler of a bundle makes the same plan', () => {
  for (const step of [STEP, ONE]) {
    const { deployment, checks } = read([
      { ...step, handlerProperties: { ...step.handlerProperties, installedCriteria: '9' } },
    ])
    assert.ok(deployment.kind === 'deploy')
    const [{ path, handler, plan, urls }, ...more] = deployment.plans
    assert.deepEqual([path, handler, urls, more], [[0], step.handler, URLS, []])
    assert.ok(plan.kind === 'image')
    assert.deepEqual([plan.installedCriteria, plan.bundle.fileId], ['9', ID])
    assert.equal(systemUpdateOf(deployment).url, URLS[ID])
    assert.deepEqual(
      checks.map(({ name, outcome }) => `${name} ${outcome}`),
      ['handler pass', 'urls pass'],
    )
  }
})

test('a flat manifest is one step', () => {
  const { updateId, files } = MANIFEST
  for (const [updateType, kind] of [
    ['microsoft/swupdate:1', 'deploy'],
    ['microsoft/swupdate:2', 'refuse'],
    ['microsoft/other:1', 'refuse'],
  ]) {
    const manifest = parsed({ manifestVersion: '2.0', updateId, files, updateType, installedCriteria: '9' })
    assert.equal(readSteps(judged(manifest), undefined, new Checks()).kind, kind, updateType)
  }
})

test('an unknown handler is found first, wherever it stands; then what is wrong in a step; then URLs', () => {
  const unknown = { ...STEP, handler: 'contoso/flasher:3' }
  const empty = { ...STEP, handlerProperties: {} }
  const none = { fileUrls: {} }
  const nine = Array.from({ length: 9 }, () => STEP)
  assert.match(refusal([empty, ...nine.slice(1), unknown], none), /^HANDLER_UNKNOWN: step 9: .*"contoso\/flasher:3"/)
  assert.match(refusal([...nine, REFERENCE], none), /^URL_BAD: fileUrls has no URL for /)
  assert.match(refusal([STEP, empty], none), /^SWU_FILE_NAME_MISSING: step 1: the step has no swuFileName$/)
  assert.match(refusal([STEP, ONE], none), /^URL_BAD: fileUrls has no URL for /)
  assert.match(refusal([STEP], none), /^URL_BAD: fileUrls has no URL for /)
  const hosts = new Hosts('piAdu.content.allowedHosts', ['files.example'])
  assert.match(refusal([STEP], { hosts }), /^HOST_NOT_ALLOWED: /)
})

test('for a step that the device does not allow, the refusal says what to do; for an unknown handler, which there are', () => {
  const refusedFor = (handler: string) => refusal([{ ...STEP, handler }])
  assert.match(refusedFor('microsoft/apt:1'), /^HANDLER_UNKNOWN: .*no single packages.*into the image$/)
  assert.match(refusedFor('microsoft/script:1'), /^SCRIPT_NOT_ALLOWED: .*to allow scripts, put /)
  for (const name of ['microsoft/apt:2', 'constructor', '__proto__', 'x'.repeat(5000)]) {
    assert.match(refusedFor(name), /; it has microsoft\/swupdate:1, microsoft\/swupdate:2$/)
    assert.ok(refusedFor(name).length < 200)
  }
})

test('a refusal names the update and keeps what the reports need', () => {
  const unknown = { ...STEP, handler: 'contoso/flasher:3' }
  const manifest = parsed({ ...MANIFEST, instructions: { steps: [STEP, unknown] } })
  const given = { workflow: { action: 3, id: 'W' }, fingerprint: 'F', extraCodes: [7], manifest, fileUrls: URLS }
  const checks = new Checks()
  const { kind, workflow, fingerprint, extraCodes, ...rest } = readSteps(
    { kind: 'deploy', signed: SIGNED, ...given },
    undefined,
    checks,
  )
  assert.deepEqual([kind, workflow, fingerprint, extraCodes], ['refuse', given.workflow, 'F', [7]])
  assert.deepEqual('updateId' in rest && rest.updateId, MANIFEST.updateId)
  assert.deepEqual(Object.keys(rest).sort(), ['error', 'updateId'])
  assert.deepEqual(
    checks.list.map(({ name, outcome }) => `${name} ${outcome}`),
    ['handler fail'],
  )
})

test('files that no step needs need no URL', () => {
  const more = { ...MANIFEST.files[ID], fileName: 'notes.txt' }
  const manifest = parsed({
    ...MANIFEST,
    files: { ...MANIFEST.files, f2: more },
    instructions: { steps: [{ ...STEP, files: [ID, 'f2'] }] },
  })
  assert.equal(readSteps(judged(manifest), undefined, new Checks()).kind, 'deploy')
})

test('a plan’s file is the signed one, as only trust/ makes them', () => {
  const { deployment } = read([STEP])
  assert.ok(deployment.kind === 'deploy')
  const file: Verified<object> = systemUpdateOf(deployment).bundle
  assert.equal(file, deployment.manifest.steps[0]?.type === 'inline' && deployment.manifest.steps[0].files[0])
})

test('a device without slots takes no image, whatever else is wrong with the step, and names what it takes', () => {
  const device = { ...IMAGES_ONLY, images: false, packages: 'yes' } as const
  for (const step of [STEP, ONE, { ...ONE, handlerProperties: {} }, { ...STEP, files: [] }])
    assert.equal(
      refusal([step], { device }),
      'HANDLER_UNKNOWN: this device has no A/B slots and takes no images: send packages or scripts',
    )
  assert.match(refusal([{ ...STEP, handler: 'contoso/x:1' }], { device }), /it has microsoft\/apt:1$/)
})

test('several steps are read in order, and each keeps its place', () => {
  const device = { ...IMAGES_ONLY, ownHandlers: ['contoso_flasher_3'] }
  const own = { ...STEP, handler: 'contoso/flasher:3' }
  const { deployment } = read([own, STEP, ONE, own], { device })
  assert.ok(deployment.kind === 'deploy')
  assert.deepEqual(
    deployment.plans.map(({ path, plan }) => `${path} ${plan.kind}`),
    ['0 work', '1 image', '2 image', '3 work'],
  )
})

test('eleven steps are too many', () => {
  const steps = Array.from({ length: 11 }, () => STEP)
  assert.throws(() => parsed({ ...MANIFEST, instructions: { steps } }), /MANIFEST_BAD|steps/)
})
