import assert from 'node:assert/strict'
import test from 'node:test'
import { isRootReadOnly } from '../../src/adapters/system/packages.ts'
import { type Capabilities, IMAGES_ONLY } from '../../src/handlers/capabilities.ts'
import { readSteps } from '../../src/handlers/read-steps.ts'
import { Checks } from '../../src/trust/checks.ts'
import { treeOf } from '../bench/authoring/child.ts'
import { MANIFEST } from '../bench/authoring/recipe.ts'

type Fields = Record<string, unknown>

const [BUNDLE] = Object.values(MANIFEST.files)
const FILES = { f1: { ...BUNDLE, fileName: 'edge.json', sizeInBytes: 300 }, f2: { ...BUNDLE, fileName: 'more.json' } }
const STEP = { handler: 'microsoft/apt:1', files: ['f1'], handlerProperties: { installedCriteria: 'edge-1.0' } }
const URLS = { f1: 'https://content.test/edge.json', f2: 'https://content.test/more.json' }
const TAKES_PACKAGES: Capabilities = { ...IMAGES_ONLY, packages: 'yes' }

function read(manifest: Fields, device: Capabilities = TAKES_PACKAGES) {
  const signed = { manifest: '', signature: '', detached: [] }
  const judged = {
    kind: 'deploy' as const,
    workflow: { action: 3, id: 'W' },
    fingerprint: 'F',
    manifest: treeOf(manifest),
    signed,
  }
  return readSteps({ ...judged, fileUrls: URLS }, undefined, new Checks(), device)
}

const stepped = (changes: Fields = {}, files: Fields = FILES) => ({
  ...MANIFEST,
  files,
  instructions: { steps: [{ ...STEP, ...changes }] },
})

const flat = (files: Fields) => ({
  ...{
    manifestVersion: '1',
    updateId: MANIFEST.updateId,
    updateType: 'microsoft/apt:1',
    installedCriteria: 'edge-1.0',
  },
  files,
})

function refusal(...given: Parameters<typeof read>): string {
  const deployment = read(...given)
  return deployment.kind === 'refuse' ? `${deployment.error.code}: ${deployment.error.message}` : deployment.kind
}

test('a step and a flat manifest make the same plan: the APT manifest is needed, and nothing else', () => {
  for (const manifest of [stepped(), flat({ f1: FILES.f1 })]) {
    const deployment = read(manifest)
    assert.ok(deployment.kind === 'deploy')
    const [{ plan, urls }, ...more] = deployment.plans
    assert.deepEqual([urls, more], [{ f1: URLS.f1 }, []])
    assert.ok(plan.kind === 'work' && plan.work.is === 'apt')
    assert.deepEqual([plan.work.manifest.fileName, plan.probe, plan.payload], ['edge.json', [plan.work.manifest], []])
    assert.equal(plan.installedCriteria, 'edge-1.0')
  }
})

test('exactly one file, installedCriteria, and a size that an APT manifest can have', () => {
  for (const files of [[], ['f1', 'f2']]) {
    assert.match(
      refusal(stepped({ files })),
      /^APT_FILE_COUNT: microsoft\/apt:1 takes exactly one file, the APT manifest; /,
    )
  }
  assert.match(refusal(flat(FILES)), /^APT_FILE_COUNT: .* the step has 2$/)
  assert.match(refusal(stepped({ handlerProperties: {} })), /^APT_CRITERIA_MISSING: the step has no installedCriteria$/)
  const large = { f1: { ...FILES.f1, sizeInBytes: 300_000 } }
  assert.match(refusal(stepped({}, large)), /^APT_MANIFEST_BAD: the APT manifest is larger than 262144 bytes$/)
})

test('where no packages can be installed, the refusal says why and what to do', () => {
  for (const [packages, words] of [
    ['readOnlyRoot', /root file system is read-only: put them into the image$/],
    ['noApt', /no apt-get: put them into the image$/],
    ['off', /"packages": {"run": "off"} is in \/etc\/pi-adu\/steps\.json: set it to "on" there$/],
  ] as const) {
    const said = refusal(stepped(), { ...TAKES_PACKAGES, packages })
    assert.match(
      said,
      new RegExp(`^HANDLER_UNKNOWN: this device installs no single packages, because .*${words.source}`),
    )
  }
})

test('the root is read-only when its file system is, and not when systemd makes everything read-only for a unit', () => {
  const line = (at: string, options: string, superOptions: string) =>
    `24 1 179:2 / ${at} ${options} shared:1 - ext4 /dev/mmcblk0p2 ${superOptions}`
  for (const [table, expected] of [
    [[line('/', 'rw,relatime', 'rw')], false],
    [[line('/', 'ro,relatime', 'rw,errors=remount-ro'), line('/boot', 'ro', 'ro')], false],
    [[line('/', 'ro,relatime', 'ro,data=ordered')], true],
    [[line('/', 'rw', 'rw'), line('/', 'ro', 'ro')], true],
    [[], false],
  ] as const) {
    assert.equal(isRootReadOnly(table.join('\n')), expected, table.join(' | '))
  }
})
