import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type PackageDescription, rootKeyPackage, withdrawn } from '../bench/authoring/root-key-package.ts'
import { openBundleSigner } from '../bench/workbench/bundle-key.ts'
import { type Pi, startRig } from './rig.ts'

/** Root key packages, detached manifests and rollback policy, from the twin to the slot. */

const rig = await startRig()
const { authority, content } = rig.bench
const two = await rig.system('2.0.0')
const three = await rig.system('3.0.0')

/** Two signers, and a file with both certificates, as a system has it while a new key takes over from an old one. */
const [oldSigner, newSigner] = await Promise.all(
  ['old', 'new'].map(name => openBundleSigner(join(rig.bench.contentDir, '../keys'), name)),
)
const both = join(rig.bench.contentDir, '../keys/both.pem')
await writeFile(
  both,
  Buffer.concat(await Promise.all([oldSigner!, newSigner!].map(({ certificate }) => readFile(certificate)))),
)

const publish = (description: PackageDescription, name = `${randomUUID()}.json`) =>
  rig.bench.publishRootKeyPackage(rootKeyPackage([authority.rootKey], description), name)
const stored = (pi: Pi) => readFile(join(pi.folder.data, 'rootkeystore/rootkeys.json'), 'utf8').catch(() => undefined)

/** How an order ended: result code, all extended result codes, version that runs. */
async function ending(pi: Pi, id: string): Promise<readonly [number, string, string | undefined]> {
  const { lastInstallResult } = await pi.settled(id)
  return [lastInstallResult.resultCode, lastInstallResult.extendedResultCodes, await pi.version()]
}

rig.test('a root key package: new, unchanged, unreachable, replayed', {}, async pi => {
  const first = await publish({ version: 1 }, 'rootkeypackage-1.json')
  const done = await ending(pi, pi.deploy(two, { rootKeyPackageUrl: first }))
  assert.deepEqual(done, [700, '00000000,A0000008', '2.0.0'])
  assert.equal(JSON.parse((await stored(pi)) ?? '').protected.version, 1)
  const again = await ending(pi, pi.deploy(three, { rootKeyPackageUrl: first }))
  assert.deepEqual(again, [700, '00000000,A0000FFF', '3.0.0'])
  const second = await publish({ version: 2 }, 'rootkeypackage-2.json')
  const newer = await ending(pi, pi.deploy(two, { rootKeyPackageUrl: second }))
  assert.deepEqual(newer, [700, '00000000,A0000008', '2.0.0'])
  const gone = await ending(pi, pi.deploy(three, { rootKeyPackageUrl: content.url('rootkeypackages/none.json') }))
  assert.deepEqual(gone, [700, '00000000,A0100005', '3.0.0'], 'a good deployment does not fail for it')
  const replayed = await ending(pi, pi.deploy(two, { rootKeyPackageUrl: first }))
  assert.deepEqual(replayed, [0, '32100009', '3.0.0'])
  assert.equal(JSON.parse((await stored(pi)) ?? '').protected.version, 2)
})

rig.test('a withdrawn signing key stays withdrawn, also for orders that name no package', {}, async pi => {
  const revoking = await publish({ disabledSigningKeys: [withdrawn(authority.signingKey.privateKey)] })
  assert.deepEqual(await ending(pi, pi.deploy(two, { rootKeyPackageUrl: revoking })), [0, 'A0000005,A0000008', '1.0.0'])
  assert.deepEqual(await ending(pi, pi.deploy(two)), [0, 'A0000005', '1.0.0'])
  await pi.powerCut()
  await pi.switchOn()
  assert.deepEqual(await ending(pi, pi.deploy(two)), [0, 'A0000005', '1.0.0'])
})

rig.test('packages that end a deployment', {}, async pi => {
  const url = (path: string) => content.url(`rootkeypackages/${path}`)
  await rig.bench.publishRootKeyPackage('<html>Sign in</html>', 'page.json')
  await publish({}, 'endless.json')
  content.faults['rootkeypackages/endless.json'] = { extraBytes: 'endless', noRanges: true }
  await publish({}, 'redirected.json')
  content.faults['rootkeypackages/redirected.json'] = { redirect: 'file:///etc/passwd' }
  const stranger = { kid: 'X', privateKey: authority.signingKey.privateKey }
  await rig.bench.publishRootKeyPackage(rootKeyPackage([stranger]), 'stranger.json')
  for (const [address, code] of [
    [url('none.json'), 'A0100005'],
    [url('page.json'), 'A0000001'],
    [url('endless.json'), 'A0000001'],
    [url('redirected.json'), 'A0100005'],
    [url('stranger.json'), '80600003'],
    ['file:///etc/passwd', '80700002'],
  ] as const) {
    assert.deepEqual(await ending(pi, pi.deploy(two, { rootKeyPackageUrl: address })), [0, code, '1.0.0'], address)
  }
  assert.equal(await stored(pi), undefined)
})

rig.test('a cancel does not wait for a package that is on its way', {}, async pi => {
  await publish({}, 'slow.json')
  content.faults['rootkeypackages/slow.json'] = { stallAfter: 0 }
  await pi.ready()
  pi.deploy(two, { rootKeyPackageUrl: content.url('rootkeypackages/slow.json') })
  while (!content.stats['rootkeypackages/slow.json']) await sleep(50)
  rig.bench.cancel(pi.id)
  const { lastInstallResult } = await pi.settled('nodeployment', { action: 255 })
  assert.equal(lastInstallResult.resultCode, 200)
})

rig.test('a detached manifest is fetched, checked and obeyed', {}, async pi => {
  const mini = await rig.bench.detachManifest(two)
  assert.deepEqual(await ending(pi, pi.deploy(mini)), [700, '00000000', '2.0.0'])
})

rig.test('detached manifests that are not what was signed', {}, async pi => {
  const mini = await rig.bench.detachManifest(two)
  const path = `${mini.files.at(-1)?.fileId}/${mini.files.at(-1)?.fileName}`
  content.faults[path] = { flipByteAt: 20 }
  assert.deepEqual(await ending(pi, pi.deploy(mini)), [0, '4000000C', '1.0.0'])
  content.faults[path] = { extraBytes: 'endless', noRanges: true }
  assert.deepEqual(await ending(pi, pi.deploy(mini)), [0, '32100003', '1.0.0'])
  content.faults[path] = { status: 404 }
  assert.deepEqual(await ending(pi, pi.deploy(mini)), [0, '40000005', '1.0.0'])
  delete content.faults[path]
  for (const [text, code] of [
    ['not JSON', '8030000E'],
    ['{}', '8030000F'],
    ['{"updateManifest":"{"}', '8030000C'],
    [JSON.stringify({ updateManifest: three.manifest }), '8030000C'],
    [JSON.stringify({ updateManifest: mini.manifest }), '8030000C'],
    [JSON.stringify({ updateManifest: two.manifest.replace('"5"', '"3"') }), '8030000A'],
  ] as const) {
    const other = await rig.bench.detachManifest(two, text)
    assert.deepEqual(await ending(pi, pi.deploy(other)), [0, code, '1.0.0'], text.slice(0, 60))
  }
})

rig.test(
  'a new certificate takes over: bundles of both keys are taken, of no third one',
  { bundleCertificate: both },
  async pi => {
    for (const [version, signer] of [
      ['2.1.0', oldSigner!],
      ['2.2.0', newSigner!],
      // A signer may keep both certificates in its file: its own comes first.
      ['2.3.0', { ...oldSigner!, certificate: both }],
    ] as const) {
      const path = await rig.bench.buildBundle({ tree: { version } }, `system-${version}.swu`, signer)
      const update = await rig.bench.importBundle(path, version)
      assert.deepEqual(await ending(pi, pi.deploy(update)), [700, '00000000', version])
    }
    assert.deepEqual(await ending(pi, pi.deploy(two)), [0, '30101001', '2.3.0'])
  },
)

const noDowngrade = { piAdu: { trust: { allowDowngrade: false } } }

rig.test('no downgrade: neither by the manifest nor by the bundle', noDowngrade, async pi => {
  assert.deepEqual(await ending(pi, pi.deploy(two)), [700, '00000000', '2.0.0'])
  const old = await rig.system('1.5.0')
  assert.deepEqual(await ending(pi, pi.deploy(old)), [0, '32100015', '2.0.0'])
  // A signed manifest that claims to be new, over a bundle that is old by its own signed word.
  const disguised = await rig.system('4.0.0', { bundle: { version: '1.5.0' } })
  const { lastInstallResult } = await pi.settled(pi.deploy(disguised))
  assert.equal(lastInstallResult.extendedResultCodes, '30101001')
  assert.deepEqual(await ending(pi, pi.deploy(three)), [700, '00000000', '3.0.0'])
})

rig.test('a minimum version holds, whoever orders', { piAdu: { trust: { minimumVersion: '2.5' } } }, async pi => {
  assert.deepEqual(await ending(pi, pi.deploy(two)), [0, '32100015', '1.0.0'])
  assert.deepEqual(await ending(pi, pi.deploy(three)), [700, '00000000', '3.0.0'])
})

rig.test('an update for other devices is refused', { model: 'oven' }, async pi => {
  assert.deepEqual(await ending(pi, pi.deploy(two)), [0, '32100013', '1.0.0'])
  const any = {
    ...two,
    manifest: two.manifest.replace(/"compatibility":\[.*?\]/, '"compatibility":[{"colour":"red"}]'),
  }
  assert.deepEqual(await ending(pi, pi.deploy(any)), [700, '00000000', '2.0.0'])
  assert.equal((await pi.events.all('deployment.warning')).length > 0, true)
})
