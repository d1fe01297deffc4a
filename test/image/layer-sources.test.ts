import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { privateApt, setupHooks } from '../../image/builder/debian.ts'
import { debianFirst, readKey } from '../../image/builder/layer-sources.ts'
import { readLayers } from '../../image/builder/layers.ts'
import { withOrigins } from '../../image/builder/package-origins.ts'
import { Repository } from '../steps/apt/repository.ts'

/** Short: gpg-agent has its socket there. */
async function aFolder(t: TestContext): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'src-'))
  t.after(() => rm(dir, { recursive: true, force: true }))
  return dir
}

function layerIn(dir: string, sources: Readonly<Record<string, string | Buffer>>): string {
  const folder = join(dir, `layer-${readdirSync(dir).length}`)
  mkdirSync(join(folder, 'sources'), { recursive: true })
  writeFileSync(join(folder, 'layer.json'), '{"name": "app", "version": "1.0.0"}')
  for (const [name, content] of Object.entries(sources)) writeFileSync(join(folder, 'sources', name), content)
  return folder
}

const source = (more: Readonly<Record<string, string | undefined>> = {}): string =>
  Object.entries({
    ...{
      Types: 'deb',
      URIs: 'https://apt.example.com/pi',
      Suites: 'stable',
      Components: 'main',
      'Signed-By': 'my.asc',
    },
    ...more,
  })
    .flatMap(([name, value]) => (value === undefined ? [] : [`${name}: ${value}\n`]))
    .join('')

/** Keys of one homedir; `expire` as gpg has it. */
function makeKey(t: TestContext, dir: string, expire: string): { readonly public: Buffer; readonly secret: Buffer } {
  const env = { ...process.env, GNUPGHOME: join(dir, `g${expire.length}`) }
  mkdirSync(env.GNUPGHOME, { mode: 0o700 })
  const gpg = (...args: string[]) => execFileSync('gpg', ['--batch', '--quiet', ...args], { env, stdio: 'pipe' })
  t.after(() => execFileSync('gpgconf', ['--kill', 'all'], { env, stdio: 'pipe' }))
  const past = expire.startsWith('seconds') ? ['--faked-system-time', '20200101T000000!'] : []
  gpg(...past, '--passphrase', '', '--quick-gen-key', 'layer', 'ed25519', 'sign', expire)
  return { public: gpg('--armor', '--export'), secret: gpg('--armor', '--export-secret-keys') }
}

test('a source without a key, with a bad key, or with more than a source is refused by name', async t => {
  const dir = await aFolder(t)
  const good = makeKey(t, dir, 'never')
  const expired = makeKey(t, dir, 'seconds=86400')
  for (const [what, files, why] of [
    ['no key', { 'my.sources': source({ 'Signed-By': undefined }) }, /my\.sources: paragraph 1: Signed-By is missing/],
    ['a key that is not there', { 'my.sources': source() }, /there is no key my\.asc/],
    ['an expired key', { 'my.sources': source(), 'my.asc': expired.public }, /sources\/my\.asc: its key has expired/],
    ['a private key', { 'my.sources': source(), 'my.asc': good.secret }, /my\.asc: it contains a private key/],
    ['a key that is none', { 'my.sources': source(), 'my.asc': 'x' }, /my\.asc: it has no OpenPGP key/],
    ['a key that signs nothing', { 'my.asc': good.public }, /my\.asc: no source is signed by it/],
    ['Trusted', { 'my.sources': source({ Trusted: 'yes' }) }, /Trusted is refused/],
    ['an option', { 'my.sources': source({ 'Allow-Insecure': 'yes' }) }, /Allow-Insecure is refused/],
    ['dates', { 'my.sources': source({ 'Check-Valid-Until': 'no' }) }, /Check-Valid-Until is refused/],
    ['a key elsewhere', { 'my.sources': source({ 'Signed-By': '/etc/key.asc' }) }, /must name a key file beside it/],
    ['source packages', { 'my.sources': source({ Types: 'deb deb-src' }) }, /Types must be deb/],
    ['a file', { 'my.sources': source({ URIs: 'file:///srv' }) }, /"file:\/\/\/srv" is not an http or https URL/],
    ['a password', { 'my.sources': source({ URIs: 'https://me:pw@x.example' }) }, /password in a URL is refused/],
    ['no components', { 'my.sources': source({ Components: undefined }) }, /Components is missing/],
    ['a flat suite', { 'my.sources': source({ Suites: './' }) }, /is not the name|has no Components/],
    ['no suite', { 'my.sources': source({ Suites: undefined }) }, /suites is missing/],
    ['another board', { 'my.sources': source({ Architectures: 'amd64' }) }, /the image is for arm64/],
    ['a field twice', { 'my.sources': `${source()}URIs: https://other.example\n` }, /URIs is there twice/],
    ['nothing', { 'my.sources': '# nothing\n' }, /my\.sources: it has no paragraph/],
    ['no field', { 'my.sources': 'deb https://x y z\n' }, /a line is FIELD: VALUE/],
    ['an unknown file', { 'my.list': 'x' }, /sources\/my\.list is unknown/],
  ] as const) {
    await assert.rejects(readLayers([layerIn(dir, files)]), why, what)
  }
  const revoked = await readKey(join(dir, 'none'))
  assert.deepEqual(revoked, { why: 'it has no OpenPGP key' })
  const file = join(dir, 'soon.asc')
  writeFileSync(file, makeKey(t, dir, '1y').public)
  assert.ok('armor' in (await readKey(file)))
  assert.deepEqual(await readKey(file, Date.now() + 400 * 86_400_000), { why: 'its key has expired' })
})

test('two paragraphs with one key are two sources, and their text has the key and no path', async t => {
  const dir = await aFolder(t)
  const key = makeKey(t, dir, 'never')
  const text = `# ours\n${source()}\n${source({ Suites: 'extra\n more', Architectures: 'arm64' })}`
  const folder = layerIn(dir, { 'my.sources': text, 'my.asc': key.public })
  const { sources, list } = await readLayers([folder])
  assert.equal(sources.length, 2)
  assert.match(sources[1]!, /^suites: extra more$/m)
  for (const each of sources) {
    assert.match(each, /^signed-by:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n \.\n/m)
    assert.equal(each.includes(dir), false)
  }
  const windows = layerIn(dir, { 'my.sources': text.replaceAll('\n', '\r\n'), 'my.asc': key.public })
  assert.deepEqual((await readLayers([windows])).sources, sources, 'line ends of Windows')
  writeFileSync(join(folder, 'sources/my.sources'), text.replace('extra', 'other'))
  assert.notEqual((await readLayers([folder])).list[0]!.sha256, list[0]!.sha256, 'the layer has another hash')
})

test('apt takes a package from the source of a layer, and none that another key signed', async t => {
  const dir = await aFolder(t)
  const repository = await Repository.start(join(dir, 'r'), 'arm64')
  t.after(() => repository.stop())
  await repository.publish({ name: 'thermocontrol', version: '1.0.1' })
  const uri = { URIs: repository.url, Suites: 'workbench', 'Signed-By': 'my.gpg' }
  const folder = layerIn(dir, { 'my.sources': source(uri), 'my.gpg': readFileSync(repository.key) })
  const { sources } = await readLayers([folder])
  mkdirSync(join(dir, 'apt'))
  const apt = await privateApt(
    join(dir, 'apt'),
    sources,
    debianFirst(['http://deb.debian.org/debian trixie main'], sources),
  )
  await apt('apt-get', 'download', 'thermocontrol')
  assert.deepEqual(readdirSync(join(dir, 'apt/debs')), ['thermocontrol_1.0.1_all.deb'])

  writeFileSync(join(dir, 'other.asc'), makeKey(t, dir, 'never').public)
  const wrong = layerIn(dir, { 'my.sources': source({ ...uri, 'Signed-By': 'my.asc' }) })
  copyFileSync(join(dir, 'other.asc'), join(wrong, 'sources/my.asc'))
  mkdirSync(join(dir, 'apt2'))
  await assert.rejects(
    privateApt(join(dir, 'apt2'), (await readLayers([wrong])).sources),
    /NO_PUBKEY|not signed|signature/i,
  )
})

test('a package that Debian has comes from Debian, whatever a source says of itself', async t => {
  const dir = await aFolder(t)
  const [debian, other] = [
    await Repository.start(join(dir, 'd'), 'arm64'),
    await Repository.start(join(dir, 'o'), 'arm64'),
  ]
  for (const repository of [debian, other]) {
    t.after(() => repository.stop())
    repository.release = ['Origin: Debian', 'Label: Debian']
  }
  await debian.publish({ name: 'openssl', version: '3.5.1' })
  await other.publish({ name: 'openssl', version: '9.9.9' }, { name: 'app', version: '1.0.0' })
  // Another host, as apt sees it.
  const uri = { URIs: other.url.replace('127.0.0.1', 'localhost'), Suites: 'workbench', 'Signed-By': 'my.gpg' }
  const folder = layerIn(dir, { 'my.sources': source(uri), 'my.gpg': readFileSync(other.key) })
  const { sources } = await readLayers([folder])
  const own = `Types: deb\nURIs: ${debian.url}\nSuites: workbench\nComponents: main\nSigned-By: ${debian.key}\n`
  mkdirSync(join(dir, 'apt'))
  const preferences = debianFirst([`${debian.url} workbench main`], sources)
  const apt = await privateApt(join(dir, 'apt'), [own, ...sources], preferences)
  await apt('apt-get', 'download', 'openssl', 'app')
  assert.deepEqual(readdirSync(join(dir, 'apt/debs')).sort(), ['app_1.0.0_all.deb', 'openssl_3.5.1_all.deb'])
  const versions = 'app\t1.0.0\t10\nopenssl\t3.5.1\t10\nunknown\t1\t1\n'
  assert.equal(
    await withOrigins(apt, versions, [`${debian.url}/`]),
    `app\t1.0.0\t10\t${uri.URIs}\nopenssl\t3.5.1\t10\nunknown\t1\t1\n`,
    'each package of a source is told from those of Debian',
  )
  assert.match(await withOrigins(apt, 'app\t0.9.0\t10\n', [debian.url]), /\thttp/, 'the source has moved on')
})

test('the preferences: hosts of layers first, and not the host of Debian', async t => {
  const dir = await aFolder(t)
  const layer = (uris: string): string => `types: deb\nuris: ${uris}\nsuites: x\n`
  const text = debianFirst(
    ['http://deb.debian.org/debian trixie main', 'http://deb.debian.org/debian trixie-updates main'],
    [layer('https://apt.example.com/pi https://b.example.com:8443'), layer('http://deb.debian.org/debian')],
  )
  assert.deepEqual(
    text.split('\n').filter(line => /^Pin/.test(line)),
    [
      ...['Pin: origin "apt.example.com"', 'Pin-Priority: 400', 'Pin: origin "b.example.com"', 'Pin-Priority: 400'],
      ...['Pin: release o=Debian, n=trixie', 'Pin-Priority: 900'],
      ...['Pin: release o=Debian, n=trixie-updates', 'Pin-Priority: 900'],
    ],
  )
  const [folder = '', copy = ''] = setupHooks(join(dir, "it's"))
  assert.match(folder, /^mkdir -p "\$1\/etc\/apt\/preferences\.d"$/)
  assert.equal(copy, `copy-in '${join(dir, "it'\\''s")}' /etc/apt/preferences.d`)
})
