import assert from 'node:assert/strict'
import test from 'node:test'
import type { Component } from '../../src/domain/deployment.ts'
import { AgentError } from '../../src/domain/errors.ts'
import { type Capabilities, IMAGES_ONLY } from '../../src/handlers/capabilities.ts'
import { MAX_COMPONENTS, readComponents } from '../../src/handlers/components/component-list.ts'
import { flattened, MAX_STEPS } from '../../src/handlers/components/flattened.ts'
import { targetsOf } from '../../src/handlers/components/targets.ts'
import { readSteps } from '../../src/handlers/read-steps.ts'
import { type Look, readStepsOn } from '../../src/handlers/read-steps-on.ts'
import { Checks } from '../../src/trust/checks.ts'
import { CHILD_MANIFEST, childOf, parentOf, REFERENCE, treeOf } from '../bench/authoring/child.ts'
import { MANIFEST } from '../bench/authoring/recipe.ts'

const motor = (id: string, more: object = {}) => ({ id, name: `${id} motor`, group: 'motors', ...more })
const LIST = {
  components: [
    motor('left', { manufacturer: 'Contoso', model: 'M1', properties: { path: '/dev/ttyACM0', speed: 9600 } }),
    motor('right', { manufacturer: 'Contoso', model: 'M2', properties: { group: 'pumps' } }),
    { id: 'cam', group: 'Cameras', manufacturer: 'Fabrikam', version: '1.0', properties: { lens: { mm: 35 } } },
  ],
}
const COMPONENTS = readComponents(JSON.stringify(LIST))
const HOST = { manufacturer: 'Contoso', model: 'Toaster' }
const DEVICE: Capabilities = { ...IMAGES_ONLY, scripts: true, components: COMPONENTS, properties: HOST }

function referenceTo(compatibility: readonly object[]) {
  const child = childOf({ ...CHILD_MANIFEST, compatibility })
  const [step] = treeOf(parentOf(child), [child]).steps
  assert.ok(step?.type === 'reference')
  return step
}

/** Ids of the components, or in words. */
function chosen(compatibility: readonly object[], device: Capabilities = DEVICE): readonly string[] | string {
  try {
    const targets = targetsOf(referenceTo(compatibility), device)
    if (targets === 'host') return 'host'
    return 'nobody' in targets ? targets.nobody : targets.components.map(({ id }) => id)
  } catch (error) {
    assert.ok(error instanceof AgentError)
    return `${error.code}: ${error.message}`
  }
}

const complaint = (text: string): string => {
  try {
    readComponents(text)
  } catch (error) {
    assert.ok(error instanceof AgentError)
    assert.equal(error.code, 'COMPONENTS_BAD')
    assert.ok(error.message.length < 400 && !error.message.includes('\n'))
    return error.message
  }
  return 'fine'
}

test('the list of components: what a handler gets is text', () => {
  const [left, , cam] = COMPONENTS as readonly [Component, Component, Component]
  assert.deepEqual(left, {
    ...{ id: 'left', name: 'left motor', group: 'motors', manufacturer: 'Contoso', model: 'M1' },
    properties: { path: '/dev/ttyACM0', speed: '9600' },
  })
  assert.deepEqual([cam.name, cam.version, cam.properties], ['cam', '1.0', { lens: '{"mm":35}' }])
  assert.deepEqual(readComponents('{"components":[],"later":1}'), [])
})

test('a list that cannot be used is refused in one line', () => {
  const list = (...components: unknown[]) => JSON.stringify({ components })
  for (const [text, expected] of [
    ['', /is not JSON/],
    ['\u0000\u0001garbage', /is not JSON/],
    ['[]', /cannot be used/],
    ['{}', /components/],
    ['{"components":{}}', /components/],
    ['{"components":[],"components":[]}', /has a member twice/],
    [list({ name: 'x' }), /components\.0\.id/],
    [list({ id: '' }), /components\.0\.id: is empty/],
    [list({ id: 7 }), /components\.0\.id/],
    [list({ id: 'a\nb' }), /control character/],
    [list({ id: 'a'.repeat(300) }), /256 characters/],
    [list(motor('a'), motor('b'), motor('a')), /two components with the id "a"/],
    [list({ ...motor('a'), properties: [] }), /components/],
    [list({ ...motor('a'), properties: { p: 'x'.repeat(2000) } }), /property "p"/],
    [list({ ...motor('a'), properties: { p: 'x\u0007' } }), /control character/],
    [list(...Array.from({ length: MAX_COMPONENTS + 1 }, (_, id) => motor(String(id)))), /more than 64 entries/],
    [' '.repeat(1_000_000), /is longer than/],
    [`{"components":[{"id":"a","properties":{"deep":${'['.repeat(50)}${']'.repeat(50)}}}]}`, /32 levels/],
  ] as const) {
    assert.match(complaint(text), expected)
  }
})

test('a component is chosen by every pair of one entry, and the child by all its entries', () => {
  assert.deepEqual(chosen([{ group: 'motors' }]), ['left', 'right'])
  assert.deepEqual(chosen([{ Group: 'MOTORS', deviceModel: 'm2' }]), ['right'])
  assert.deepEqual(chosen([{ model: 'M2' }, { id: 'cam' }, { name: 'right motor' }]), ['right', 'cam'])
  assert.deepEqual(chosen([{ path: '/dev/ttyACM0' }]), ['left'])
  assert.deepEqual(chosen([{ version: '1.0' }]), ['cam'])
  // A property does not stand in for a member of the same name.
  assert.match(String(chosen([{ group: 'pumps' }])), /^none of the 3 components/)
  // A pair that a component lacks is a difference.
  assert.match(String(chosen([{ manufacturer: 'Contoso', colour: 'red' }])), /^none of the 3 components/)
  assert.match(String(chosen([{}])), /^none of the 3 components/)
})

test('the device itself is meant when no component is, and when there are none', () => {
  const alone = { ...DEVICE, components: undefined } as unknown as Capabilities
  assert.equal(chosen([HOST]), 'host')
  assert.deepEqual(chosen([{ manufacturer: 'contoso' }]), ['left', 'right'])
  assert.equal(chosen([{ manufacturer: 'CONTOSO', deviceModel: 'toaster' }], alone), 'host')
  assert.match(String(chosen([{ group: 'motors' }], alone)), /^COMPATIBILITY: .*motors.*no components are configured$/)
  assert.match(String(chosen([{ ...HOST, group: 'motors' }], alone)), /^COMPATIBILITY: /)
  assert.equal(chosen([], alone), 'host')
  assert.equal(chosen([{ group: 'motors' }], IMAGES_ONLY), 'host')
  assert.match(String(chosen([])), /^CHILD_COMPATIBILITY: the child manifest motor\.json does not say/)
  assert.match(String(chosen([{ group: 'motors' }], { ...DEVICE, components: [] })), /^none of the 0 components/)
})

test('where nobody knows what the device is, a child that may describe it is for it, and one for a part is not', () => {
  const { properties: _, ...unknown } = DEVICE
  assert.equal(chosen([{ manufacturer: 'Initech', model: 'Toaster' }], unknown), 'host')
  assert.equal(chosen([{ group: 'pumps' }, { colour: 'red' }], unknown), 'host')
  assert.deepEqual(chosen([{ manufacturer: 'contoso' }], unknown), ['left', 'right'])
  for (const entry of [{ Group: 'pumps' }, { id: 'x', manufacturer: 'Initech' }, { name: 'x' }, {}]) {
    assert.match(String(chosen([entry], unknown)), /^none of the 3 components/)
  }
})

const SCRIPT = {
  handler: 'microsoft/script:1',
  files: Object.keys(MANIFEST.files),
  handlerProperties: { scriptFileName: 'toaster.swu', installedCriteria: '1' },
}

/** The steps of a parent as a list, in words. */
function listed(parent: readonly object[], below: readonly object[], device: Capabilities = DEVICE) {
  const child = childOf({ ...CHILD_MANIFEST, instructions: { steps: below } })
  return flattened(treeOf(parentOf(child, parent), [child]).steps, device).map(entry => {
    const who = 'nobody' in entry ? 'nobody' : 'component' in entry ? entry.component?.id : 'host'
    return `${entry.path.join('.')} ${who}`
  })
}

test('a reference step is all steps of its child for each component, in order and in its place', () => {
  assert.deepEqual(listed([SCRIPT, REFERENCE, SCRIPT], [SCRIPT, SCRIPT]), [
    ...['0 host', '1.0 left', '1.1 left', '1.0 right', '1.1 right', '2 host'],
  ])
  const none = { ...DEVICE, components: COMPONENTS.slice(2) }
  assert.deepEqual(listed([REFERENCE, SCRIPT, REFERENCE], [SCRIPT, SCRIPT], none), ['0 nobody', '1 host', '2 nobody'])
  assert.deepEqual(listed([REFERENCE], [SCRIPT, SCRIPT], IMAGES_ONLY), ['0.0 host', '0.1 host'])
})

test('more steps than a journal should hold are refused before anything begins', () => {
  const components = Array.from({ length: MAX_COMPONENTS }, (_, id) => ({ ...motor(String(id)), properties: {} }))
  const device = { ...DEVICE, components }
  assert.equal(listed([REFERENCE], [SCRIPT, SCRIPT], device).length, MAX_STEPS)
  assert.throws(() => listed([REFERENCE], [SCRIPT, SCRIPT, SCRIPT], device), { code: 'TOO_MANY_STEPS' })
})

/** What becomes of `steps`, and how the device was looked at. */
async function taken(steps: readonly object[], look: (components: boolean) => Partial<Capabilities>) {
  const child = childOf({ ...CHILD_MANIFEST, instructions: { steps: [SCRIPT] } })
  const manifest = treeOf(parentOf(child, steps), [child])
  const looks: boolean[] = []
  const lookAt: Look = async components => {
    looks.push(components)
    return { ...DEVICE, ...look(components) }
  }
  const judged = {
    ...({ kind: 'deploy', workflow: { action: 3, id: 'W' }, fingerprint: 'F', manifest } as const),
    ...{
      signed: { manifest: '', signature: '', detached: [] },
      fileUrls: { f06b052ef8f38d681: 'https://content.test/a' },
    },
  }
  const checks = new Checks()
  const deployment = await readStepsOn(judged, undefined, checks, IMAGES_ONLY, lookAt, new AbortController().signal)
  const plans = deployment.kind === 'deploy' ? deployment.plans : []
  const what = plans.map(({ path, component, plan }) => `${path.join('.')} ${component?.id ?? 'host'} ${plan.kind}`)
  const detail = checks.list.find(({ name }) => name === 'handler')?.detail
  return { looks, what, detail, refused: deployment.kind === 'refuse' ? deployment.error.code : '' }
}

test('the device is looked at only for steps that are not images, and its components only for reference steps', async () => {
  const broken = (): never => {
    throw new AgentError('STEP_SERVICE', 'the settings cannot be read')
  }
  const [IMAGE] = MANIFEST.instructions.steps
  assert.deepEqual(await taken([IMAGE], broken), {
    ...{ looks: [], what: ['0 host image'], detail: 'microsoft/swupdate:2', refused: '' },
  })
  assert.deepEqual((await taken([SCRIPT], () => ({}))).what, ['0 host work'])
  const { looks, refused, detail } = await taken([SCRIPT], broken)
  assert.deepEqual([looks, refused, detail], [[false], 'STEP_SERVICE', 'the settings cannot be read'])
  assert.deepEqual((await taken([REFERENCE], broken)).looks, [true])
  const failed = () => {
    throw new RangeError('a fault')
  }
  await assert.rejects(taken([SCRIPT], failed), RangeError)
})

test('each step says in the explanation whom it is for', async () => {
  const one = { components: COMPONENTS.slice(1) }
  const { what, detail } = await taken([REFERENCE], () => one)
  assert.deepEqual(what, ['0.0 right work'])
  assert.equal(detail, 'step 0.0 for the component "right motor": microsoft/script:1')
  const none = await taken([REFERENCE], () => ({ components: COMPONENTS.slice(2) }))
  assert.deepEqual(none.what, ['0 host nothing'])
  assert.match(none.detail ?? '', /^step 0: none of the 1 components of this device is \[\{"group":"motors"\}\]$/)
})

test('an image is for the slots of the device, never for a component', async () => {
  const child = childOf()
  const judged = { kind: 'deploy', workflow: { action: 3, id: 'W' }, fingerprint: 'F' } as const
  const signed = { manifest: '', signature: '', detached: [] }
  const manifest = treeOf(parentOf(child), [child])
  const refused = readSteps({ ...judged, manifest, signed, fileUrls: {} }, undefined, new Checks(), DEVICE)
  assert.ok(refused.kind === 'refuse')
  assert.match(
    refused.error.message,
    /^step 0\.0 for the component "left motor": an image is for the slots of the device/,
  )
})
