import assert from 'node:assert/strict'
import test from 'node:test'
import type { WorkPlan } from '../../src/domain/deployment.ts'
import { AgentError } from '../../src/domain/errors.ts'
import { type Capabilities, IMAGES_ONLY } from '../../src/handlers/capabilities.ts'
import { handlerFileOf } from '../../src/handlers/own/own.ts'
import { handlerOf } from '../../src/handlers/registry.ts'
import { Checks } from '../../src/trust/checks.ts'
import { parseManifest } from '../../src/trust/manifest.ts'
import { MANIFEST } from '../bench/authoring/recipe.ts'

type Fields = Record<string, unknown>

const ANY: Capabilities = { images: true, scripts: true, packages: 'yes', ownHandlers: ['contoso_flasher_3'] }
const [ENTITY] = Object.values(MANIFEST.files)

/** The plan of one step with `names` as its files, read as the agent reads it. */
function plan(handler: string, handlerProperties: Fields, names: readonly string[], device = ANY) {
  const files = Object.fromEntries(names.map((fileName, index) => [`f${index}`, { ...ENTITY, fileName }]))
  const steps = [{ handler, handlerProperties, files: Object.keys(files) }]
  const manifest = parseManifest(JSON.stringify({ ...MANIFEST, instructions: { steps }, files }), new Checks())
  assert.ok('steps' in manifest)
  const [step] = manifest.steps
  assert.ok(step?.type === 'inline')
  const read = handlerOf(handler, device)
  const found = read.read(step, device)
  assert.deepEqual(
    read.needs(found).map(({ fileName }) => fileName),
    found.kind === 'work' ? namesOf([...found.probe, ...found.payload]) : names.slice(-1),
  )
  return found
}

const namesOf = (files: WorkPlan['payload']): readonly string[] => files.map(({ fileName }) => fileName)

function work(...given: Parameters<typeof plan>): WorkPlan {
  const found = plan(...given)
  assert.ok(found.kind === 'work')
  return found
}

function refusal(...given: Parameters<typeof plan>): string {
  try {
    plan(...given)
  } catch (error) {
    assert.ok(error instanceof AgentError, String(error))
    return `${error.code}: ${error.message}`
  }
  return assert.fail('was read')
}

const SCRIPT = 'microsoft/script:1'
const SWUPDATE = 'microsoft/swupdate:2'
const PRE = { scriptFileName: 'pre.sh' }
const A_B = { scriptFileName: 'ab.sh', swuFileName: 'a.swu', installedCriteria: '9' }

test('a script step: the script is needed to ask whether it is installed, everything else to install it', () => {
  const found = work(SCRIPT, { ...PRE, arguments: '--pre  a "b  ', InstalledCriteria: 'it is 1' }, ['data', 'pre.sh'])
  assert.deepEqual(namesOf(found.probe), ['pre.sh'])
  assert.deepEqual(namesOf(found.payload), ['data'])
  assert.equal(found.installedCriteria, 'it is 1')
  assert.deepEqual(found.work, {
    is: 'script',
    script: found.probe[0],
    arguments: ['--pre', 'a', '"b'],
    apiVersion: '1.0',
  })
  const bare = work(SCRIPT, { ...PRE, apiVersion: '1.1', installedCriteria: '', arguments: '' }, ['pre.sh'])
  assert.equal('installedCriteria' in bare, false)
  assert.ok(bare.work.is === 'script')
  assert.deepEqual([bare.work.apiVersion, bare.work.arguments, bare.payload], ['1.1', [], []])
})

test('a bundle with a script is work for the script, and one without is an image', () => {
  const found = work(SWUPDATE, A_B, ['ab.sh', 'a.swu', 'more'])
  assert.ok(found.work.is === 'script')
  assert.deepEqual([found.work.script.fileName, found.work.swuFileName], ['ab.sh', 'a.swu'])
  assert.deepEqual(namesOf(found.payload), ['a.swu', 'more'])
  const { scriptFileName: _, ...image } = A_B
  assert.equal(plan(SWUPDATE, image, ['a.swu']).kind, 'image')
  assert.equal(plan(SWUPDATE, image, ['a.swu'], IMAGES_ONLY).kind, 'image')
})

test('where scripts are off, the refusal says what allows them', () => {
  for (const [handler, properties] of [
    [SCRIPT, PRE],
    [SCRIPT, {}],
    [SWUPDATE, A_B],
  ] as const) {
    assert.match(
      refusal(handler, properties, ['pre.sh'], IMAGES_ONLY),
      /^SCRIPT_NOT_ALLOWED: .*put "scripts": \{"run": "on"\} into \/etc\/pi-adu\/steps\.json$/,
    )
  }
})

const files = ['pre.sh', 'data']
const REFUSED: readonly [handler: string, properties: Fields, files: readonly string[], refusal: RegExp][] = [
  [SCRIPT, {}, files, /^SCRIPT_NAME_MISSING/],
  [SCRIPT, { scriptFileName: '' }, files, /^SCRIPT_NAME_MISSING/],
  [SCRIPT, { scriptFileName: 7 }, files, /^MANIFEST_BAD: handlerProperties.scriptFileName is not a string/],
  [SCRIPT, { scriptFileName: '../pre.sh' }, files, /^SCRIPT_FILE_UNKNOWN: scriptFileName "\.\.\/pre\.sh"/],
  [SCRIPT, { scriptFileName: 'constructor' }, files, /^SCRIPT_FILE_UNKNOWN/],
  [SCRIPT, PRE, [], /^SCRIPT_NO_FILES/],
  [SCRIPT, { ...PRE, apiVersion: '2.0' }, files, /^SCRIPT_PROPERTIES: apiVersion is "2.0"; it must be "1.0" or "1.1"/],
  [SCRIPT, { ...PRE, apiVersion: '' }, files, /^SCRIPT_PROPERTIES/],
  [SCRIPT, { ...PRE, arguments: 'a\0b' }, files, /^SCRIPT_PROPERTIES: arguments has a NUL/],
  [SCRIPT, { ...PRE, installedCriteria: 'x'.repeat(70_000) }, files, /^SCRIPT_PROPERTIES: .* longer than 64 KiB/],
  [SCRIPT, PRE, ['pre.sh', 'pre.sh'], /^NAME_UNSAFE: two files/],
  [SCRIPT, PRE, ['pre.sh', 'action_install_aduc_result.json'], /^NAME_UNSAFE: .*the script's result/],
  [SWUPDATE, { ...A_B, scriptFileName: '' }, ['ab.sh', 'a.swu'], /^SWU_SCRIPT_NAME_MISSING/],
  [SWUPDATE, { ...A_B, swuFileName: undefined }, ['ab.sh', 'a.swu'], /^SWU_FILE_NAME_MISSING/],
  [SWUPDATE, A_B, ['ab.sh'], /^SWU_SCRIPT_FILES: .*the step has 1$/],
  [SWUPDATE, A_B, ['other.sh', 'a.swu'], /^SWU_SCRIPT_UNKNOWN/],
  [SWUPDATE, A_B, ['ab.sh', 'b.swu'], /^SWU_FILE_UNKNOWN/],
  [SWUPDATE, A_B, ['ab.sh', 'a.swu', 'aduc_result.json'], /^NAME_UNSAFE/],
  ['contoso/flasher:3', {}, ['a', 'a'], /^NAME_UNSAFE/],
  ['contoso/flasher:3', { installedCriteria: 3 }, ['a'], /^MANIFEST_BAD/],
  ['contoso/flasher:4', {}, ['a'], /^HANDLER_UNKNOWN/],
]

test('each flaw of a step has its code and a sentence', () => {
  for (const [handler, properties, names, expected] of REFUSED)
    assert.match(refusal(handler, properties, names), expected)
})

test('a handler of the owner gets all properties and files as they are; none of ours can be replaced by one', () => {
  const properties = { port: '/dev/ttyACM0', deep: { a: [1] }, installedCriteria: 'fw 7' }
  const found = work('contoso/flasher:3', properties, ['fw.hex', 'notes'])
  assert.deepEqual(found.work, { is: 'own', handler: 'contoso/flasher:3', properties })
  assert.deepEqual([found.probe, namesOf(found.payload), found.installedCriteria], [[], ['fw.hex', 'notes'], 'fw 7'])
  const imposters = { ...ANY, ownHandlers: ['microsoft_script_1', 'microsoft_apt_2'] }
  assert.equal(work(SCRIPT, PRE, ['pre.sh'], imposters).work.is, 'script')
  assert.equal(handlerFileOf('contoso.com/a-b/c:10'), 'contoso_com_a-b_c_10')
  assert.equal(handlerFileOf('../../etc/passwd'), '______etc_passwd')
})
