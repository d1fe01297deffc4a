import assert from 'node:assert/strict'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { readConfig } from '../../src/config/config.ts'
import { ConfigError } from '../../src/domain/errors.ts'
import { Hosts } from '../../src/domain/hosts.ts'
import { webUrl } from '../../src/domain/web-url.ts'
import { readSteps } from '../../src/handlers/read-steps.ts'
import { Checks } from '../../src/trust/checks.ts'
import { judge } from '../../src/trust/judge.ts'
import { ringOf } from '../../src/trust/root-keys.ts'
import { packageUrlOf, type Service } from '../../src/trust/service.ts'
import { publicNumbers } from '../bench/authoring/keys.ts'
import { cook } from '../bench/authoring/recipe.ts'
import { newKeys } from '../trust/flaws/flaw.ts'
import { download, FEW_PAUSES, file, good, site } from './network.ts'

const BAD: readonly (readonly [string, unknown, RegExp])[] = [
  ['a user name that does not decode', 'http://%zz@host/x', /% that is not followed by two hexadecimal digits/],
  ['a password that does not decode', 'http://u:50%off@host/x', /% that is not followed/],
  ['a tab', 'http://ho\tst/x', /control character/],
  ['a line feed', 'http://host/x\n', /control character/],
  ['a line end of C1', 'http://host/\u0085', /control character/],
  ['no host', 'http://', /not a URL/],
  ['port 0', 'http://host:0/', /port 0/],
  ['a port beyond', 'http://host:65536/', /not a URL/],
  ['another scheme', 'ftp://host/', /begins with ftp:, not http/],
  ['a scheme nobody knows', 'secret://host/', /begins with another scheme/],
  ['10,000 characters', `http://host/${'x'.repeat(10_000)}`, /longer than 8192/],
  ['a number', 7, /not a text/],
  ['nothing', undefined, /not a text/],
]

for (const [name, text, flaw] of BAD) {
  test(`${name} is refused, and not quoted`, () => {
    const checked = webUrl(text)
    assert.equal(checked.url, undefined)
    assert.match(checked.flaw ?? '', flaw)
    assert.doesNotMatch(checked.flaw ?? '', /zz|50%off|secret|\n|\t/)
  })
}

test('what is taken has nothing left to decode', () => {
  const { url } = webUrl('HTTPS://u%40x:p%3A%ff@[::FFFF:1]:8443\\a/../b c.swu?q=%zz#f')
  assert.deepEqual(
    [url?.secure, url?.hostname, url?.host, url?.port, url?.target, url?.fileName],
    [true, '::ffff:1', '[::ffff:1]:8443', 8443, '/b%20c.swu?q=%zz', 'b%20c.swu'],
  )
  assert.deepEqual(url?.credentials, Buffer.from('u@x:p:\xff', 'latin1'))
  assert.equal(webUrl('http://host').url?.credentials, undefined)
})

const keys = newKeys()
const anchors = {
  builtIn: keys.roots.map(({ kid, privateKey }) => ({ kid, ...publicNumbers(privateKey) })),
  configured: [],
}
const deployment = cook(keys).service as unknown as Service

test('a twin with such a URL is refused with a code, before anything is fetched', () => {
  for (const [, text, flaw] of BAD.filter(([, each]) => typeof each === 'string')) {
    const service: Service = {
      ...deployment,
      action: 'deploy',
      workflow: { action: 3, id: 'x' },
      rootKeyPackageUrl: text,
    }
    assert.throws(() => packageUrlOf(service), { code: 'PACKAGE_URL', message: flaw })
    const fileUrls = Object.fromEntries(Object.keys(deployment.fileUrls as object).map(id => [id, text]))
    const terms = { ring: ringOf(anchors, undefined), compatibility: 'off', properties: undefined } as const
    const verdict = readSteps(judge({ ...service, fileUrls }, terms).judged!, undefined, new Checks())
    assert.equal(verdict.kind === 'refuse' && verdict.error.code, 'URL_BAD')
  }
})

test('a deployment from a host that is not allowed is refused before anything is fetched; pi-adu verify says so', () => {
  const fileUrls = Object.fromEntries(
    Object.keys(deployment.fileUrls as object).map(id => [id, 'http://10.1.2.3/a.swu']),
  )
  const service: Service = { ...deployment, action: 'deploy', workflow: { action: 3, id: 'x' }, fileUrls }
  const terms = { ring: ringOf(anchors, undefined), compatibility: 'off', properties: undefined } as const
  for (const [entries, code] of [
    [['*'], 'HOST_NOT_ALLOWED'],
    [['files.example'], 'HOST_NOT_ALLOWED'],
    [['*', '10.1.2.3'], undefined],
  ] as const) {
    const hosts = new Hosts('piAdu.content.allowedHosts', entries)
    const checks = new Checks()
    const verdict = readSteps(judge(service, { ...terms, hosts }).judged!, hosts, checks)
    assert.equal(verdict.kind === 'refuse' ? verdict.error.code : undefined, code)
    const check = checks.list.find(({ name }) => name === 'urls')
    assert.equal(check?.outcome, code === undefined ? 'pass' : 'fail')
    if (code) assert.match(check?.detail ?? '', /add "10\.1\.2\.3" to piAdu\.content\.allowedHosts/)
  }
})

for (const location of [
  'http://%zz@localhost/x',
  'http://u:50%off@localhost/',
  'http://[',
  'gopher://x/',
  'http://h:0/',
  '//%zz@h/',
  'http://h/\tx',
]) {
  test(`a redirect to ${JSON.stringify(location)} is an error of the download, and never quoted`, async t => {
    const it = await site(t, (_, response) => response.writeHead(302, { Location: location }).end())
    const end = await download(it.url)
    assert.deepEqual([end.code, end.pauses], ['DOWNLOAD_FAILED', FEW_PAUSES])
    assert.match(end.message, /redirects to an address that/)
    assert.doesNotMatch(end.message, /zz|50%off|gopher/)
  })
}

test('a redirect in UTF-8 leads where it says, and one in Latin-1 too', async t => {
  const paths: (string | undefined)[] = []
  const it = await site(t, (request, response) => {
    if (request.url !== '/file') {
      paths.push(request.url)
      return good(request, response)
    }
    response.writeHead(302, { Location: Buffer.from('/ä').toString(paths.length === 0 ? 'latin1' : 'utf8') }).end()
  })
  for (let times = 0; times < 2; times++) await download(it.url, { rangeBytes: file.length })
  assert.deepEqual(paths, ['/%C3%A4', '/%C3%A4'])
})

test('what is not a tag is never sent back', async t => {
  for (const [tag, sent] of [
    ['"1"', '"1"'],
    ['W/"1"', undefined],
    ['1', undefined],
    ['"1" "2"', undefined],
    ['"1"\tx', undefined],
  ] as const) {
    const seen = new Set<string | undefined>()
    const it = await site(t, (request, response) => {
      if (!request.headers.range?.startsWith('bytes=0-')) seen.add(request.headers['if-range'] as string | undefined)
      response.setHeader('ETag', tag)
      const [, first, last] = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? '')!.map(Number) as [
        number,
        number,
        number,
      ]
      response.setHeader('Content-Range', `bytes ${first}-${last}/${file.length}`)
      response.writeHead(206, { 'Content-Length': last - first + 1 }).end(file.subarray(first, last + 1))
    })
    assert.equal((await download(it.url)).whole, true)
    assert.deepEqual([...seen], [sent])
  }
})

test('user name and password go to the server as they are meant', async t => {
  const seen: (string | undefined)[] = []
  const it = await site(t, (request, response) => {
    seen.push(request.headers.authorization)
    good(request, response)
  })
  assert.equal((await download(it.url.replace('//', '//us%40er:p%25%C3%A4@'), { rangeBytes: file.length })).whole, true)
  assert.deepEqual(seen, [`Basic ${Buffer.from('us@er:p%ä').toString('base64')}`])
})

test('a proxy whose password does not decode stops the start, with what to write', async t => {
  const dir = await mkdtemp(join(tmpdir(), 'urls-'))
  t.after(() => rm(dir, { recursive: true }))
  const config = join(dir, 'du-config.json')
  const names = { manufacturer: 'contoso', model: 'pi4' }
  const connectionSource = {
    connectionType: 'string',
    connectionData: 'HostName=h.example;DeviceId=d;SharedAccessKey=AAAA',
  }
  await writeFile(
    config,
    JSON.stringify({ schemaVersion: '1.1', ...names, agents: [{ name: 'main', ...names, connectionSource }] }),
  )
  await chmod(config, 0o600)
  for (const [value, complaint] of [
    ['http://me:50%off@proxy:8080', /https_proxy has a user name or password with a % .*write %25/],
    ['me:50%off@proxy:8080', /write %25/],
    ['socks5://proxy:1080', /another scheme.*must be like http:\/\/host:port/],
    ['https://proxy', /must be like http:\/\/host:port/],
    ['http://', /not a URL/],
  ] as const) {
    await assert.rejects(readConfig(config, { https_proxy: value }), (error: Error) => {
      assert.ok(error instanceof ConfigError)
      assert.match(error.message, complaint)
      assert.doesNotMatch(error.message, /50%off/)
      return true
    })
  }
  const { proxies } = await readConfig(config, { https_proxy: 'me:50%25off@proxy:8080' })
  assert.equal(proxies.httpsProxy, 'http://me:50%25off@proxy:8080/')
})
