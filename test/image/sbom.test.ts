import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { packagesOf } from '../../image/builder/agent-bundle.ts'
import { type Component, debsOf, idOf, largest, readInventory, sizeReport } from '../../image/builder/inventory.ts'
import { readLayer } from '../../image/builder/layer.ts'
import { mergeLayers } from '../../image/builder/layers.ts'
import { repositoryRoot } from '../../image/builder/repository.ts'
import { cycloneDxOf, purlOf, spdxOf } from '../../image/builder/sbom.ts'

const home = mkdtempSync(join(tmpdir(), 'sbom-'))
after(() => rmSync(home, { recursive: true, force: true }))
for (const folder of ['base', 'parts']) mkdirSync(join(home, folder))
writeFileSync(
  join(home, 'base/versions.txt'),
  'zlib1g\t1:1.3.dfsg+really1.3.1-1+b1\t170\nlibstdc++6\t14.2.0-19\t2700\n',
)
writeFileSync(
  join(home, 'parts/versions.txt'),
  'linux-image-6.12.118+deb13-arm64\t6.12.118-1\nu-boot-rpi\t2025.01-3+deb13u1\nu-boot-qemu\t2025.01-3\nlibnode-dev\t20\n',
)
const npm: readonly Component[] = [
  { kind: 'npm', name: '@azure/abort-controller', version: '2.1.2', licence: 'MIT' },
  { kind: 'npm', name: 'mqtt', version: '4.3.8', licence: 'MIT' },
  { kind: 'npm', name: 'mqtt', version: '5.0.0' },
]
const agent = { version: '0.1.0', licence: 'MIT', bytes: 800_000 }

async function inventory() {
  const layers = mergeLayers([await readLayer(join(repositoryRoot(), 'image/layers/hello'))])
  return readInventory({ base: join(home, 'base'), parts: join(home, 'parts'), npm, agent, layers })
}
const subject = { version: '1.2.3', epoch: 1_760_000_000 }

test('the inventory has what is in the image, each once, and not what it was only built with', async () => {
  assert.deepEqual((await inventory()).map(idOf), [
    'agent/pi-adu-agent@0.1.0',
    'deb/libstdc++6@14.2.0-19',
    'deb/linux-image-6.12.118+deb13-arm64@6.12.118-1',
    'deb/u-boot-rpi@2025.01-3+deb13u1',
    'deb/zlib1g@1:1.3.dfsg+really1.3.1-1+b1',
    'layer/hello@1.0.0',
    'npm/@azure/abort-controller@2.1.2',
    'npm/mqtt@4.3.8',
    'npm/mqtt@5.0.0',
  ])
})

test('the packages of files are found, nested ones too', async () => {
  const files = ['valibot/dist/index.js', 'onoff/onoff.js', 'valibot/package.json'].map(path => `node_modules/${path}`)
  const found = await packagesOf(repositoryRoot(), ['src/main.ts', ...files])
  assert.deepEqual(
    found.map(({ name, licence }) => `${name} ${licence}`),
    ['onoff MIT', 'valibot MIT'],
  )
  const nested = 'node_modules/a/node_modules/@s/b'
  mkdirSync(join(home, nested), { recursive: true })
  writeFileSync(join(home, nested, 'package.json'), '{"name": "@s/b", "version": "1.0.0", "license": {"type": "MIT"}}')
  assert.deepEqual(await packagesOf(home, [`${nested}/lib/x.js`]), [
    { kind: 'npm', name: '@s/b', version: '1.0.0', folder: join(home, nested) },
  ])
})

test('package URLs', () => {
  const rows: readonly [Component['kind'], string, string, string][] = [
    ['deb', 'libstdc++6', '14.2.0-19', 'pkg:deb/debian/libstdc%2B%2B6@14.2.0-19?distro=trixie'],
    ['deb', 'zlib1g', '1:1.3+b1', 'pkg:deb/debian/zlib1g@1%3A1.3%2Bb1?distro=trixie'],
    ['npm', '@azure/core', '1.0.0', 'pkg:npm/%40azure/core@1.0.0'],
    ['layer', 'hello', '1.0.0', 'pkg:generic/hello@1.0.0'],
  ]
  for (const [kind, name, version, purl] of rows) assert.equal(purlOf({ kind, name, version }), purl)
  const [app] = debsOf('app\t1.0+1\t12\thttps://apt.example.com:8443/pi?x&y\n')
  assert.equal(
    purlOf(app!),
    'pkg:deb/apt.example.com/app@1.0%2B1?repository_url=https://apt.example.com:8443/pi%3Fx%26y',
  )
})

interface Spdx {
  readonly documentNamespace: string
  readonly creationInfo: { readonly created: string }
  readonly packages: readonly Record<string, unknown>[]
  readonly relationships: readonly Record<string, string>[]
}

test('SPDX: the fields that 2.3 requires, ids of its form, and relationships to packages that exist', async () => {
  const parts = await inventory()
  const document = JSON.parse(spdxOf(subject, parts)) as Spdx
  assert.match(document.documentNamespace, /^urn:uuid:[0-9a-f-]{36}$/)
  assert.equal(document.creationInfo.created, '2025-10-09T08:53:20Z')
  const ids = new Set(document.packages.map(({ SPDXID }) => SPDXID))
  assert.equal(ids.size, parts.length + 1)
  for (const id of ids) assert.match(String(id), /^SPDXRef-[A-Za-z0-9.-]+$/)
  for (const part of document.packages)
    for (const field of [
      'name',
      'versionInfo',
      'downloadLocation',
      'licenseConcluded',
      'licenseDeclared',
      'copyrightText',
    ])
      assert.equal(typeof part[field], 'string', field)
  assert.equal(document.relationships.length, parts.length + 1)
  for (const { spdxElementId, relatedSpdxElement } of document.relationships) {
    assert.ok(spdxElementId === 'SPDXRef-DOCUMENT' || ids.has(spdxElementId))
    assert.ok(ids.has(relatedSpdxElement))
  }
})

test('CycloneDX: unique references, and every dependency is a component', async () => {
  const parts = await inventory()
  const bom = JSON.parse(cycloneDxOf(subject, parts))
  assert.match(bom.serialNumber, /^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[1-5][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  const refs = bom.components.map((component: { 'bom-ref': string }) => component['bom-ref'])
  assert.equal(new Set(refs).size, parts.length)
  assert.deepEqual(bom.dependencies, [{ ref: bom.metadata.component['bom-ref'], dependsOn: refs }])
  const hello = bom.components.find(({ name }: { name: string }) => name === 'hello')
  assert.match(hello.hashes[0].content, /^[0-9a-f]{64}$/)
})

test('the same components give the same bytes, another one does not', async () => {
  for (const write of [spdxOf, cycloneDxOf]) {
    const [one, two] = [write(subject, await inventory()), write(subject, await inventory())]
    assert.equal(one, two)
    const more = [...(await inventory()), { kind: 'deb', name: 'less', version: '668-1' } as const]
    const [a, b] = [one, write(subject, more)].map(text => /urn:uuid:[0-9a-f-]+/.exec(text)?.[0])
    assert.notEqual(a, b)
    assert.notEqual(one, write({ ...subject, version: '1.2.4' }, await inventory()))
  }
})

test('sizes are reported against the slot, the largest first', async () => {
  const parts = await inventory()
  const report = sizeReport(parts, 384 * 2 ** 20, 512 * 2 ** 20)
  assert.match(report, /^# Root file system: 384\.0 MiB of 512\.0 MiB, 75 %$/m)
  assert.match(report, /^ {4}2\.6 {2}deb {4}libstdc\+\+6 14\.2\.0-19\n {4}0\.8 {2}agent {2}pi-adu-agent 0\.1\.0\n/m)
  assert.match(report, /^ {4}0\.0 {2}layer {2}hello 1\.0\.0$/m)
  assert.deepEqual(
    largest(parts, 2).map(({ name }) => name),
    ['libstdc++6', 'pi-adu-agent'],
  )
  assert.deepEqual(debsOf(''), [])
})
