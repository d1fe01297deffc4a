import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after } from 'node:test'
import { repositoryRoot } from '../../image/builder/repository.ts'
import { readDesired } from '../../src/trust/service.ts'
import { CHILD_MANIFEST, CHILD_URLS, childOf, parentOf, REFERENCE } from '../bench/authoring/child.ts'
import { publicNumbers } from '../bench/authoring/keys.ts'
import { cook, MANIFEST, type Recipe } from '../bench/authoring/recipe.ts'
import { rootKeyPackage } from '../bench/authoring/root-key-package.ts'
import { encodings } from '../domain/encodings.ts'
import { EVIL, OBEYED } from '../domain/evil.ts'
import { newKeys } from './flaws/flaw.ts'

const folder = await mkdtemp(join(tmpdir(), 'verify-'))
after(() => rm(folder, { recursive: true }))

const keys = newKeys()
let count = 0

async function file(content: unknown): Promise<string> {
  const path = join(folder, `${count++}.json`)
  const isRaw = typeof content === 'string' || Buffer.isBuffer(content)
  await writeFile(path, isRaw ? content : JSON.stringify(content))
  return path
}

interface Answer {
  readonly code: number
  readonly out: string
  readonly error: string
}

function run(argv: readonly string[], stdin: string | Buffer = ''): Promise<Answer> {
  return new Promise(resolve => {
    const child = execFile(
      process.execPath,
      [join(repositoryRoot(), 'dist/src/main.js'), 'verify', ...argv],
      { timeout: 30_000 },
      (error, out, said) => resolve({ code: Number(error?.code ?? 0), out, error: said }),
    )
    child.stdin?.end(stdin)
  })
}

/** As others write them: standard base64 with padding. */
const testKeys = await file(
  keys.roots.map(({ kid, privateKey }) => {
    const { n, e } = publicNumbers(privateKey)
    return { kid, n: Buffer.from(n, 'base64url').toString('base64'), e }
  }),
)
const trusting = ['--trust-test-keys', testKeys]
const serviceOf = (change: Partial<Recipe> = {}) => cook(keys, change).service as Record<string, unknown>

async function json(document: unknown, ...argv: string[]) {
  const { code, out } = await run([await file(document), '--json', ...trusting, ...argv])
  return { code, ...JSON.parse(out) }
}

for (const [name, wrap] of [
  ['the service object', (service: unknown) => service],
  ['a desired patch', (service: unknown) => ({ deviceUpdate: { __t: 'c', service }, $version: 7 })],
  ['a patch without $version', (service: unknown) => ({ deviceUpdate: { service } })],
  [
    'desired and reported',
    (service: unknown) => ({ desired: { deviceUpdate: { service }, $version: 1 }, reported: {} }),
  ],
  [
    'a twin of the registry',
    (service: unknown) => ({ deviceId: 'd', properties: { desired: { deviceUpdate: { service } } } }),
  ],
] as const) {
  test(`${name} is understood`, async () => {
    const { checks, reason, code, ...rest } = await json(wrap(serviceOf()))
    assert.equal(code, 0, reason)
    assert.deepEqual(rest, {
      authentic: true,
      verdict: 'accept',
      manifestVersion: '5',
      updateId: MANIFEST.updateId,
      rootKey: 'TEST.1.R',
      signingKey: 'TEST.1.R.S',
      extendedResultCode: '00000000',
      steps: [
        {
          handler: 'microsoft/swupdate:2',
          files: ['toaster.swu'],
          handlerProperties: MANIFEST.instructions.steps[0].handlerProperties,
        },
      ],
    })
    assert.ok(checks.every(({ outcome }: { outcome: string }) => outcome === 'pass' || outcome === 'skip'))
  })
}

for (const [name, document, reason] of [
  ['the contract of 2021', { azureDeviceUpdateAgent: { __t: 'c', service: { action: 0 } } }, /contract of 2021/],
  ['its service in today’s component', { deviceUpdate: { service: { action: 0, fileUrls: {} } } }, /contract of 2021/],
  ['the pattern of 2018', { firmware: { fwVersion: '2', fwPackageURI: 'https://x/' } }, /pattern of the 2018 tutorial/],
  ['no workflow', { deviceUpdate: { service: { updateManifest: 'x' } } }, /^workflow is missing$/],
  ['a workflow that is a text', { deviceUpdate: { service: { workflow: 'x' } } }, /^workflow is not an object$/],
  [
    'no action',
    { deviceUpdate: { service: { workflow: { id: 'x' } } } },
    /^workflow\.action is missing, not 3 or 255$/,
  ],
  ['no id', { deviceUpdate: { service: { workflow: { action: 3 } } } }, /^workflow\.id is missing$/],
] as const) {
  test(`${name}: ignored, with one sentence, by verify and by the agent`, async () => {
    for (const wrapped of [document, { properties: { desired: document } }]) {
      const { verdict, reason: said, code } = await json(wrapped)
      assert.deepEqual([verdict, code], ['ignore', 2])
      assert.match(said, reason)
    }
    assert.match(readDesired({ ...document, $version: 2 }).ignored?.message ?? '', reason)
  })
}

test('stdin, and a text for people', async () => {
  const { code, out } = await run(['-', ...trusting], JSON.stringify(serviceOf()))
  assert.equal(code, 0)
  assert.match(out, /^Contoso Toaster 1\.0\.1, manifest version 5: authentic\n/)
  assert.match(out, /\n {3}ok {3}signature\n {3}ok {3}hash\n/)
  assert.match(out, /\nACCEPT: the agent would install toaster\.swu/)
})

test('a twin that a Windows editor or PowerShell saved is read, from a file and from stdin', async () => {
  for (const [name, bytes] of Object.entries(encodings(JSON.stringify(serviceOf(), null, 2)))) {
    assert.equal((await run([await file(bytes), ...trusting])).code, 0, name)
    assert.equal((await run(['-', ...trusting], bytes)).code, 0, name)
  }
  const windows = await file(Buffer.from('{"name": "M\u00fcller"}', 'latin1'))
  const { code, error } = await run([windows, ...trusting])
  assert.equal(code, 64)
  assert.match(error, /^pi-adu: .*\.json is not UTF-8 \(it looks like an 8-bit code page[^)]*\): save it as UTF-8\n$/)
})

test('what a manifest or a twin says does not command the terminal', async () => {
  const manifest = { ...MANIFEST, updateId: { ...MANIFEST.updateId, name: EVIL } }
  const texts = [
    await file(serviceOf({ manifest: JSON.stringify(manifest) })),
    await file({ ...serviceOf(), workflow: { action: 3, id: EVIL } }),
  ]
  for (const path of texts) {
    for (const more of [[], ['--json']]) {
      const { out, error } = await run([path, ...trusting, ...more])
      assert.doesNotMatch(out + error, OBEYED)
      assert.ok(out.length > 20)
    }
  }
  assert.doesNotMatch((await run([`/no/such/${EVIL.replaceAll('\u0000', '')}`])).error, OBEYED)
})

test('without the keys it is not authentic, and what was not reached is said', async () => {
  const { code, out } = await run([await file(serviceOf())])
  assert.equal(code, 2)
  assert.match(out, /FAIL {2}root key .*not trusted/)
  assert.match(out, / -- {3}hash {15}not reached/)
  assert.match(out, /\nREFUSE: .*\(A0200006\)\n$/)
})

test('authentic speaks of signatures and hash alone', async () => {
  const step = { ...MANIFEST.instructions.steps[0], handler: 'contoso/other:1' }
  const unknown = await json(serviceOf({ manifest: { ...MANIFEST, instructions: { steps: [step] } } }))
  assert.deepEqual([unknown.code, unknown.authentic, unknown.verdict], [2, true, 'refuse'])
  assert.equal(unknown.extendedResultCode, '30000003')
  assert.equal(unknown.steps[0].handler, 'contoso/other:1')
  const noAction = await json(serviceOf({ workflow: { id: 'w' } }))
  assert.deepEqual([noAction.code, noAction.authentic, noAction.verdict], [2, true, 'ignore'])
  const badId = await json(serviceOf({ workflow: { action: 3, id: '../x' } }))
  assert.deepEqual([badId.authentic, badId.verdict, badId.rootKey], [true, 'refuse', 'TEST.1.R'])
  const cancel = await json({ workflow: { action: 255, id: 'nodeployment' } })
  assert.deepEqual([cancel.code, cancel.authentic, cancel.verdict], [0, false, 'accept'])
})

test('every step is shown, also of an update that is refused for one of them', async () => {
  const [step] = MANIFEST.instructions.steps
  const child = childOf()
  const service = serviceOf({ manifest: parentOf(child, [step, REFERENCE]), fileUrls: CHILD_URLS })
  const absent = await json(service)
  assert.match(absent.reason, /^the agent would first fetch the detached manifest motor\.json and check it/)
  const own = { ...step, files: ['toaster.swu'] }
  assert.deepEqual(absent.steps, [own, { type: 'reference', child: 'motor.json' }])
  const given = [
    '--detached-manifest',
    await file(child.content),
    '--device-properties',
    'manufacturer=contoso,model=toaster',
  ]
  const { verdict, extendedResultCode, steps } = await json(service, ...given)
  assert.deepEqual([verdict, extendedResultCode], ['refuse', '32100013'])
  const { updateId, compatibility } = CHILD_MANIFEST
  assert.deepEqual(steps, [own, { type: 'reference', child: 'motor.json', updateId, compatibility, steps: [own] }])
  const { out } = await run([await file(service), ...trusting, ...given])
  assert.match(
    out,
    /FAIL {2}handler {12}step 1: the child manifest motor\.json is for .*motors.*, and no components are configured/,
  )
  assert.match(out, / -- {3}urls {15}not reached/)
})

test('device properties are compared', async () => {
  const fits = await json(serviceOf(), '--device-properties', 'Manufacturer=CONTOSO,model=toaster')
  assert.equal(fits.verdict, 'accept')
  const other = await json(serviceOf(), '--device-properties', 'manufacturer=contoso,model=oven')
  assert.deepEqual([other.code, other.authentic, other.extendedResultCode], [2, true, '32100013'])
})

test('a root key package counts, for a deployment and alone', async () => {
  const path = await file(cook(keys).rootKeyPackage)
  assert.equal((await json(serviceOf(), '--root-key-package', path)).verdict, 'accept')
  const revoking = await file(rootKeyPackage(keys.roots, { disabledRootKeys: ['TEST.1.R'] }))
  const withdrawn = await json(serviceOf(), '--root-key-package', revoking)
  assert.deepEqual([withdrawn.code, withdrawn.authentic, withdrawn.extendedResultCode], [2, false, 'A0200005'])
  const alone = await run(['--root-key-package', revoking, '--json', ...trusting])
  assert.equal(alone.code, 0)
  assert.deepEqual(JSON.parse(alone.out).disabledRootKeys, ['TEST.1.R'])
  const bad = await file(cook(keys, { packageSigners: [keys.roots[0]] }).rootKeyPackage)
  const refused = await run(['--root-key-package', bad, '--json', ...trusting])
  assert.equal(refused.code, 2)
  const { authentic, verdict, extendedResultCode } = JSON.parse(refused.out)
  assert.deepEqual([authentic, verdict, extendedResultCode], [false, 'refuse', '80600003'])
  const other = await json(serviceOf(), '--root-key-package', bad)
  assert.deepEqual([other.authentic, other.verdict, other.extendedResultCode], [true, 'refuse', '80600003'])
})

test('a new root key comes with a package', async () => {
  const service = serviceOf({ rootKey: keys.stranger })
  assert.equal((await json(service)).extendedResultCode, 'A0200006')
  const path = await file(rootKeyPackage(keys.roots, { more: [keys.stranger] }))
  const taken = await json(service, '--root-key-package', path)
  assert.deepEqual([taken.verdict, taken.rootKey], ['accept', 'STRANGER'])
})

test('a mini manifest needs its file', async () => {
  const text = JSON.stringify({ updateManifest: JSON.stringify(MANIFEST) })
  const { createHash } = await import('node:crypto')
  const sha256 = createHash('sha256').update(text).digest('base64')
  const manifest = {
    manifestVersion: '5',
    updateId: MANIFEST.updateId,
    detachedManifestFileId: 'f1',
    files: {
      f1: { fileName: 'toaster.updatemanifest.json', sizeInBytes: Buffer.byteLength(text), hashes: { sha256 } },
    },
  }
  const [id = ''] = Object.keys(MANIFEST.files)
  const fileUrls = { f1: 'http://contoso.example/m', [id]: 'http://contoso.example/t' }
  const service = serviceOf({ manifest, fileUrls })
  const first = await json(service)
  assert.deepEqual([first.code, first.authentic, first.steps], [0, true, []])
  assert.match(first.reason, /--detached-manifest/)
  const whole = await json(service, '--detached-manifest', await file(text))
  assert.deepEqual([whole.verdict, whole.steps.length], ['accept', 1])
  const wrong = await json(service, '--detached-manifest', await file(text.replace('Toaster', 'toaster')))
  assert.deepEqual([wrong.code, wrong.authentic, wrong.extendedResultCode], [2, true, '4000000C'])
})

test('a mini manifest and a child manifest are two files, given in any order', async () => {
  const child = childOf()
  const whole = childOf(parentOf(child), undefined, 'toaster.json')
  const manifest = {
    ...{ manifestVersion: '5', updateId: MANIFEST.updateId, detachedManifestFileId: 'f1' },
    files: { f1: whole.entity },
  }
  const fileUrls = { ...CHILD_URLS, f1: 'http://contoso.example/m' }
  const service = serviceOf({ manifest, fileUrls })
  const [parts, part] = [await file(whole.content), await file(child.content)]
  const first = await json(service, '--detached-manifest', parts)
  assert.match(first.reason, /would first fetch the detached manifest motor\.json/)
  const both = await json(service, '--detached-manifest', part, '--detached-manifest', parts)
  assert.equal(both.steps[0].steps.length, 1, both.reason)
  const stray = await json(service, '--detached-manifest', parts, '--detached-manifest', await file('{}'))
  assert.deepEqual([stray.code, stray.extendedResultCode], [2, '4000000C'])
  assert.match(stray.reason, /not the detached manifest motor\.json/)
})

test('what cannot be a question ends with 64 and one line', async () => {
  const good = await file(serviceOf())
  for (const argv of [
    [],
    [join(folder, 'nowhere')],
    [await file('{')],
    [await file('')],
    [await file('[]')],
    [await file('"text"')],
    [await file({ foo: 1 })],
    [good, '--trust-test-keys', await file('[{"kid":"a"}]')],
    [good, '--trust-test-keys', await file({})],
    [good, '--device-properties', 'manufacturer'],
    [good, '--root-key-package', join(folder, 'nowhere')],
    [good, '--no-such-option'],
  ]) {
    const { code, out, error } = await run(argv)
    assert.deepEqual([code, out], [64, ''], argv.join(' '))
    assert.match(error, /^[^\n]+\n$/)
  }
})
