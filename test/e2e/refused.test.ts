import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { type Authority, openAuthority } from '../bench/authoring/keys.ts'
import { signManifest } from '../bench/authoring/sign.ts'
import type { DeployOptions } from '../bench/bench.ts'
import type { JsonObject } from '../bench/hub/json.ts'
import { type Pi, startRig } from './rig.ts'

/** Orders that must not be taken, one after another on a device that is never restarted; then a good one. */

const rig = await startRig()
const two = await rig.system('2.0.0')
const stranger = await openAuthority(join(rig.bench.contentDir, '../other-keys'), 'OTHER.ROOT.1')
const good = signManifest(two.manifest, rig.bench.authority)

interface Case {
  readonly name: string
  readonly deploy?: DeployOptions
  /** Another manifest, properly signed. */
  readonly manifest?: (manifest: Manifest) => object | string
  readonly code: string
  readonly details: RegExp
}

interface Manifest {
  manifestVersion: unknown
  updateId: Record<string, unknown>
  instructions: { steps: Record<string, unknown>[] }
  files: Record<string, Record<string, unknown>>
  [other: string]: unknown
}

const stepOf = (manifest: Manifest) => manifest.instructions.steps[0]!
const propertiesOf = (manifest: Manifest) => stepOf(manifest).handlerProperties as Record<string, unknown>
const fileOf = (manifest: Manifest) => Object.values(manifest.files)[0]!
const changed = (change: (manifest: Manifest) => unknown) => (manifest: Manifest) => {
  change(manifest)
  return manifest
}

/** Still base64url, and as long as before. */
function flipped(signature: string): string {
  const at = signature.length - 20
  return `${signature.slice(0, at)}${signature[at] === 'A' ? 'B' : 'A'}${signature.slice(at + 1)}`
}

const signature: Case[] = [
  { name: 'bad signature', deploy: { signature: flipped(good) }, code: 'A0200004', details: /does not verify/ },
  {
    name: 'no signature',
    deploy: { signature: null },
    code: '80300001',
    details: /updateManifestSignature: is missing/,
  },
  {
    name: 'empty signature',
    deploy: { signature: '' },
    code: '80300001',
    details: /updateManifestSignature: is missing/,
  },
  {
    name: 'manifest changed after signing',
    deploy: { tamper: text => text.replace('"2.0.0"', '"2.0.1"') },
    code: '80300001',
    details: /not the text that was signed/,
  },
  {
    name: 'unknown root key',
    deploy: { signature: signManifest(two.manifest, stranger) },
    code: 'A0200006',
    details: /OTHER\.ROOT\.1/,
  },
  {
    name: 'a stranger under the name of the root key',
    deploy: { signature: signManifest(two.manifest, renamed(stranger, rig.bench.authority.rootKey.kid)) },
    code: 'A0200004',
    details: /does not verify with root key/,
  },
  { name: 'no compact JWS', deploy: { signature: 'one.two' }, code: 'A0200002', details: /three parts/ },
  { name: 'header that is not base64url', deploy: { signature: '{}.e30.e30' }, code: 'A0200008', details: /header/ },
]

const manifests: Case[] = [
  { name: 'no JSON', manifest: () => 'manifest', code: '80300009', details: /not JSON/ },
  { name: 'JSON, but no object', manifest: () => '[1]', code: '80300009', details: /updateManifest/ },
  {
    name: 'version 3',
    manifest: changed(m => Object.assign(m, { manifestVersion: '3' })),
    code: '8030000A',
    details: /"3"/,
  },
  {
    name: 'version 6',
    manifest: changed(m => Object.assign(m, { manifestVersion: '6' })),
    code: '8030000A',
    details: /"6"/,
  },
  {
    name: 'version as a number',
    manifest: changed(m => Object.assign(m, { manifestVersion: 5 })),
    code: '8030000A',
    details: /5/,
  },
  {
    name: 'no version',
    manifest: changed(m => Object.assign(m, { manifestVersion: undefined })),
    code: '8030000A',
    details: /undefined/,
  },
  {
    name: 'detached manifest',
    manifest: changed(m => Object.assign(m, { detachedManifestFileId: 'f1' })),
    code: '8030000B',
    details: /detached/,
  },
  {
    name: 'no steps',
    manifest: changed(m => Object.assign(m.instructions, { steps: [] })),
    code: '80300009',
    details: /steps/,
  },
  {
    name: 'packages behind an image, on a device that takes none',
    manifest: changed(m => m.instructions.steps.push({ ...stepOf(m), handler: 'microsoft/apt:1' })),
    code: '30000003',
    details: /step 1: .*installs no single packages/,
  },
  {
    name: 'reference step',
    manifest: changed(m =>
      Object.assign(stepOf(m), { type: 'reference', detachedManifestFileId: Object.keys(m.files)[0] }),
    ),
    code: '30400003',
    details: /child manifest/,
  },
  {
    name: 'no handler',
    manifest: changed(m => Object.assign(stepOf(m), { handler: undefined })),
    code: '8040000C',
    details: /no handler/,
  },
  {
    name: 'packages, on a device that takes none',
    manifest: changed(m => Object.assign(stepOf(m), { handler: 'microsoft/apt:1' })),
    code: '30000003',
    details: /installs no single packages, because .*: /,
  },
  {
    name: 'a script alone',
    manifest: changed(m => Object.assign(stepOf(m), { handler: 'microsoft/script:1' })),
    code: '3210000E',
    details: /to allow scripts, put "scripts"/,
  },
  {
    name: 'unknown handler in the last of ten steps',
    manifest: changed(m =>
      m.instructions.steps.push(...Array(8).fill(stepOf(m)), { ...stepOf(m), handler: 'contoso/flasher:3' }),
    ),
    code: '30000003',
    details: /step 9: .*contoso\/flasher:3/,
  },
  {
    name: 'no handlerProperties',
    manifest: changed(m => Object.assign(stepOf(m), { handlerProperties: undefined })),
    code: '8040000D',
    details: /handlerProperties/,
  },
  {
    name: 'a script, which is not allowed here',
    manifest: changed(m => Object.assign(propertiesOf(m), { scriptFileName: 'install.sh' })),
    code: '3210000E',
    details: /to allow scripts, put "scripts"/,
  },
  {
    name: 'no installedCriteria',
    manifest: changed(m => Object.assign(propertiesOf(m), { installedCriteria: undefined })),
    code: '30100206',
    details: /installedCriteria/,
  },
  {
    name: 'installedCriteria that is no text',
    manifest: changed(m => Object.assign(propertiesOf(m), { installedCriteria: 2 })),
    code: '80300009',
    details: /installedCriteria/,
  },
  {
    name: 'no swuFileName',
    manifest: changed(m => Object.assign(propertiesOf(m), { swuFileName: undefined })),
    code: '30100008',
    details: /swuFileName/,
  },
  {
    name: 'swuFileName of no file',
    manifest: changed(m => Object.assign(propertiesOf(m), { swuFileName: 'other.swu' })),
    code: '30100108',
    details: /other\.swu/,
  },
  {
    name: 'swupdate:1 without a file',
    manifest: changed(m => void Object.assign(stepOf(m), { handler: 'microsoft/swupdate:1', files: [] })),
    code: '30100004',
    details: /exactly one file/,
  },
  {
    name: 'a file that is not listed',
    manifest: changed(m => Object.assign(stepOf(m), { files: ['f0'] })),
    code: '80300009',
    details: /"f0"/,
  },
  ...['../image.swu', '..', '/etc/passwd', 'a/b', 'a\\b', '-e', 'a\u0000b', 'a\nb', '', 'x'.repeat(256)].map(name => ({
    name: `file name ${JSON.stringify(name.slice(0, 20))}`,
    manifest: changed(m => Object.assign(fileOf(m), { fileName: name })),
    code: '32100002',
    details: /not a plain file name/,
  })),
  {
    name: 'file without a hash',
    manifest: changed(m => Object.assign(fileOf(m), { hashes: {} })),
    code: '4000000B',
    details: /hash/,
  },
  {
    name: 'file with sha1 only',
    manifest: changed(m => Object.assign(fileOf(m), { hashes: { sha1: 'aGFzaA==' } })),
    code: '40000008',
    details: /sha1/,
  },
  {
    name: 'hash that is too short',
    manifest: changed(m => Object.assign(fileOf(m), { hashes: { sha256: 'aGFzaA==' } })),
    code: '80300009',
    details: /32 bytes/,
  },
  ...[0, -1, 1.5, 2 ** 31 + 1, '1000', null].map(size => ({
    name: `file of ${JSON.stringify(size)} bytes`,
    manifest: changed(m => Object.assign(fileOf(m), { sizeInBytes: size })),
    code: '80300009',
    details: /sizeInBytes/,
  })),
  {
    name: 'updateId with a foreign character',
    manifest: changed(m => Object.assign(m.updateId, { name: 'a"b' })),
    code: '80300009',
    details: /updateId/,
  },
]

const urls: Case[] = [
  { name: 'no URL', deploy: { fileUrls: {} }, code: '40000007', details: /no URL/ },
  ...(
    [
      ['file:///etc/passwd', /begins with file:, not http: or https:/],
      ['ftp://localhost/a', /begins with ftp:, not http: or https:/],
      ['not a URL', /is not a URL/],
      ['', /is not a URL/],
    ] as const
  ).map(([url, details]) => ({
    name: `URL "${url}"`,
    deploy: { fileUrls: { [two.files[0]!.fileId]: url } },
    code: '40000007',
    details,
  })),
  ...['../../etc', '.', 'a/b', 'x'.repeat(129), 'a b'].map(workflowId => ({
    name: `workflow id "${workflowId.slice(0, 10)}"`,
    deploy: { workflowId },
    code: '32100002',
    details: /workflow\.id/,
  })),
]

const agent = { state: 255 }
/** With a step service that takes neither packages nor scripts. */
const DEVICE = { steps: { scripts: { run: 'off' } } }

for (const [name, cases] of Object.entries({ signature, 'update manifest': manifests, 'files and names': urls })) {
  rig.test(`refused for its ${name}, then a good one is taken`, DEVICE, async pi => {
    await pi.ready()
    const pid = await pi.events.pid()
    for (const each of cases) await refused(pi, each)
    assert.equal(await pi.events.pid(), pid, 'the agent has not been restarted')
    assert.equal(pi.reports.length, cases.length, 'one report for each, and none of work in progress')
    assert.deepEqual(await pi.events.all('install.begin'), [])
    await pi.expectResult(pi.deploy(two), { resultCode: 700, version: '2.0.0' })
  })
}

async function refused(pi: Pi, { name, deploy = {}, manifest, code, details }: Case): Promise<void> {
  let update = two
  if (manifest) {
    const other = manifest(JSON.parse(two.manifest))
    update = { ...two, manifest: typeof other === 'string' ? other : JSON.stringify(other) }
  }
  const id = pi.deploy(update, { workflowId: randomUUID(), ...deploy })
  const wanted = { resultCode: 0, code, details, version: '1.0.0' }
  const report = await pi.expectResult(id, wanted).catch(error => {
    throw new Error(`${name}: ${error.message}`, { cause: error })
  })
  const { resultDetails } = report.lastInstallResult
  assert.deepEqual(report, {
    ...agent,
    workflow: { action: 3, id },
    lastInstallResult: {
      resultCode: 0,
      extendedResultCodes: code,
      resultDetails,
      stepResults: { step_0: { resultCode: 0, extendedResultCodes: code, resultDetails } },
    },
  })
  assert.ok(!resultDetails?.includes('\n'), `${name}: one line`)
}

rig.test('what is no order is acknowledged and left alone', {}, async pi => {
  await pi.ready()
  const pid = await pi.events.pid()
  const id = randomUUID()
  const content = { updateManifest: two.manifest, updateManifestSignature: good, fileUrls: {} }
  const orders: JsonObject[] = [
    { workflow: { id }, ...content },
    { workflow: { action: 7, id } },
    { workflow: { action: '3', id } },
    { workflow: { action: 0, id } },
    { workflow: { action: 3, id: null } },
    { workflow: { action: 3, id: 5 } },
    { workflow: { action: 3, id: 'x'.repeat(513) } },
    { workflow: null },
    { workflow: 'deploy' },
    { workflow: [3, id] },
  ]
  for (const order of orders) {
    const version = pi.order(order)
    await pi.waitFor(() => acknowledged(pi) === version, `the acknowledgement of ${JSON.stringify(order).slice(0, 80)}`)
  }
  assert.deepEqual(pi.reports, [])
  assert.ok((await pi.events.all('deployment.ignored')).length >= orders.length)
  // An object has lost the bytes that were signed.
  pi.order({ workflow: { action: 3, id }, ...content, updateManifest: JSON.parse(two.manifest) })
  await pi.expectResult(id, { resultCode: 0, code: '80300001', details: /not a string/, version: '1.0.0' })
  assert.equal(await pi.events.pid(), pid, 'the agent has not been restarted')
  await pi.expectResult(pi.deploy(two), { resultCode: 700, version: '2.0.0' })
})

rig.test('desired properties of other applications are left alone', {}, async pi => {
  await pi.ready()
  for (const other of [{ lamp: { on: true } }, { deviceUpdate: null, list: [1, 2] }, { deviceUpdate: 'text' }]) {
    rig.bench.hub.updateDesired(pi.id, other)
  }
  await pi.expectResult(pi.deploy(two), { resultCode: 700, version: '2.0.0' })
  assert.equal(pi.reports.length, 2)
})

function acknowledged(pi: Pi): unknown {
  const service = (pi.reported.deviceUpdate as Record<string, JsonObject> | undefined)?.service
  return service?.av
}

/** Keys of one authority under the root key's name of another. */
function renamed(authority: Authority, kid: string): Authority {
  return { ...authority, rootKey: { ...authority.rootKey, kid } }
}
