import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { chmodSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { repositoryRoot } from '../../image/builder/repository.ts'
import { EndWarning, nearingEnd } from '../../src/adapters/identity/certificate-end.ts'
import { CertificateIdentity } from '../../src/adapters/identity/certificate-identity.ts'
import { checkIdentity } from '../../src/cli/check-identity.ts'
import { certificateWarnings } from '../../src/cli/device-certificates.ts'
import { deviceCertificate } from '../../src/cli/doctor/identity.ts'
import { describeStatus } from '../../src/cli/status/text.ts'
import { readConfig } from '../../src/config/config.ts'
import { identitySettings } from '../../src/config/identity.ts'
import { ConfigError } from '../../src/domain/errors.ts'
import { NOTHING } from '../../src/view/view.ts'
import { folder, x509 } from './files.ts'

// Certificate and key of the device, as people bring them.

const { path, text, write, openssl, certificate } = folder()
certificate('root', { ca: true })
certificate('middle', { ca: true, issuer: 'root' })
certificate('pi1', { issuer: 'middle' })
certificate('alone', { cn: 'whatever' })
certificate('rsa', { cn: 'pi1', kind: 'rsa' })
certificate('odd', { cn: 'pi1', kind: 'ed25519' })
const chain = write('chain.pem', text('pi1.pem') + text('middle.pem'))
const PHRASE = 'correct horse battery'
write('phrase', PHRASE)
openssl('ec', '-in', 'pi1.key', '-aes256', '-passout', 'file:phrase', '-out', 'sec1.key')
openssl('pkcs8', '-topk8', '-in', 'pi1.key', '-passout', 'file:phrase', '-out', 'pkcs8.key')
openssl('pkey', '-in', 'pi1.key', '-pubout', '-out', 'public.key')
for (const name of ['sec1.key', 'pkcs8.key', 'public.key']) chmodSync(path(name), 0o600)

type Any = ReturnType<typeof x509>
const signal = new AbortController().signal

/** The warnings, if the agent would start. */
async function check(config: Any): Promise<readonly string[]> {
  const read = await readConfig(write('du-config.json', JSON.stringify(config)), {})
  return [...read.warnings, ...(await checkIdentity(read))]
}

/** Any text of a key, in the form in which a file has it. */
const secrets = ['pi1.key', 'sec1.key', 'pkcs8.key', 'rsa.key'].flatMap(name =>
  text(name)
    .split('\n')
    .filter(line => /^[\w+/=]{20,}$/.test(line)),
)

const withPhrase = (config: Any, phrase: string): Any => ({ ...config, piAdu: { hub: { keyPassphraseFile: phrase } } })
const key = path('pi1.key')
const FIELD = 'connectionX509(?:CertFilePath|PrivateKeyFilePath)'

test('what works: any case of the type, chains with and without root and in any order, encrypted keys, Windows files', async () => {
  const bom = (name: string) => Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), Buffer.from(text(name))])
  const rows: readonly (readonly [string, Any])[] = [
    ['leaf and intermediate', x509(chain, key)],
    ['small letters', x509(chain, key, { connectionType: 'x509' })],
    ['without x509=true', x509(chain, key, { connectionData: 'HostName=h.net;DeviceId=pi1' })],
    [
      'gateway and module',
      x509(write('m.pem', text('pi1.pem')), key, { connectionData: 'HostName=h.net;DeviceId=pi1' }),
    ],
    ['with the root', x509(write('whole.pem', text('chain.pem') + text('root.pem')), key)],
    ['intermediate first', x509(write('reversed.pem', text('middle.pem') + text('pi1.pem')), key)],
    ['a key beside it', x509(write('both.pem', text('pi1.key') + text('chain.pem')), key)],
    ['RSA', x509(path('rsa.pem'), path('rsa.key'))],
    ['CRLF', x509(write('crlf.pem', text('chain.pem').replaceAll('\n', '\r\n')), key)],
    ['CRLF in the key', x509(chain, write('crlf.key', text('pi1.key').replaceAll('\n', '\r\n')))],
    ['a byte order mark', x509(write('bom.pem', bom('chain.pem')), write('bom.key', bom('pi1.key')))],
    ['an encrypted key', withPhrase(x509(chain, path('pkcs8.key')), path('phrase'))],
    ['an old form of one', withPhrase(x509(chain, path('sec1.key')), write('phrase-line', `${PHRASE}\r\n`))],
    ['a passphrase that nothing needs', withPhrase(x509(chain, key), path('phrase'))],
  ]
  for (const [name, config] of rows) assert.deepEqual(await check(config), [], name)
})

test('what does not work stops the start in one sentence, with the field and what is expected', async () => {
  const rows: readonly (readonly [string, Any, RegExp])[] = [
    [
      'swapped',
      x509(key, chain),
      /PrivateKeyFilePath: \S+ holds a certificate, not a private key$|CertFilePath: .*swapped$/,
    ],
    ['of another pair', x509(path('alone.pem'), key), /does not belong to the private key in \S+pi1\.key: .* a pair$/],
    ['another kind of key', x509(chain, path('rsa.key')), /CertFilePath: .* does not belong to the private key/],
    ['EC key, RSA certificate', x509(path('rsa.pem'), key), /CertFilePath: .* does not belong to the private key/],
    ['Ed25519', x509(path('odd.pem'), path('odd.key')), /PrivateKeyFilePath: .* type ed25519: must be RSA or EC$/],
    ['a public key', x509(chain, path('public.key')), /PrivateKeyFilePath: .* has no private key in PEM$/],
    ['no certificate file', x509(path('none.pem'), key), /CertFilePath: cannot be read: ENOENT/],
    ['no key file', x509(chain, path('none.key')), /PrivateKeyFilePath: cannot be read: ENOENT/],
    ['a folder', x509(path('.'), key), /CertFilePath: cannot be read: EISDIR/],
    ['empty', x509(write('empty.pem', ''), key), /CertFilePath: \S+ is empty$/],
    [
      'a key in a TPM',
      x509(chain, write('tss2.key', '-----BEGIN TSS2 PRIVATE KEY-----\nMAA=\n-----END TSS2 PRIVATE KEY-----\n')),
      /KeyFilePath: \S+tss2\.key names a key in hardware.*the OpenSSL provider tpm2 in Node's configuration/,
    ],
    [
      'a key in a token',
      x509(
        chain,
        write('token.key', '-----BEGIN PKCS#11 PROVIDER URI-----\nMAA=\n-----END PKCS#11 PROVIDER URI-----\n'),
      ),
      /\S+token\.key names a key in hardware.*the OpenSSL provider pkcs11 in Node's configuration/,
    ],
    ['empty key', x509(chain, write('empty.key', '')), /PrivateKeyFilePath: \S+ is empty$/],
    ['blank', x509(write('blank.pem', '\n'), key), /CertFilePath: \S+ has no PEM certificate$/],
    ['DER', x509(write('der.pem', Buffer.from(text('pi1.pem').replace(/-.*-/g, ''), 'base64')), key), /is not UTF-8/],
    ['cut off', x509(write('cut.pem', text('pi1.pem').slice(0, 300)), key), /has no PEM certificate$/],
    [
      'damaged',
      x509(write('damaged.pem', text('pi1.pem').replace(/\n[\w+/=]+\n/, '\nAAAA\n')), key),
      /certificate 1 in \S+ is damaged$/,
    ],
    [
      'a damaged key',
      x509(chain, write('damaged.key', text('pi1.key').replace(/\n[\w+/=]{20}/, '\nAAAAAAAAAAAAAAAAAAAA'))),
      /PrivateKeyFilePath: \S+ has a private key that is damaged/,
    ],
    ['too large', x509(write('large.pem', 'x'.repeat((1 << 20) + 1)), key), /is larger than 1 MiB$/],
    ['readable by all', x509(chain, write('open.key', text('pi1.key'), 0o644)), /everybody can read it: chmod 600 it$/],
    ['encrypted', x509(chain, path('pkcs8.key')), /is encrypted: name a file .* in piAdu\.hub\.keyPassphraseFile$/],
    ['encrypted, old form', x509(chain, path('sec1.key')), /is encrypted: name a file/],
    [
      'wrong passphrase',
      withPhrase(x509(chain, path('pkcs8.key')), write('wrong', 'nonsense')),
      /cannot be decrypted with the passphrase in \S+wrong$/,
    ],
    ['no passphrase file', withPhrase(x509(chain, key), path('none')), /piAdu\.hub\.keyPassphraseFile: cannot be read/],
    ['a pkcs11: URI', x509(chain, write('uri.key', 'pkcs11:token=x;object=y')), /PrivateKeyFilePath: .* a pkcs11: URI/],
    [
      'an engine',
      x509(chain, key, { opensslEngine: 'pkcs11' }),
      /connectionSource\.opensslEngine: OpenSSL engines are/,
    ],
    ['no key setting', without(x509(chain, key), 'PrivateKeyFilePath'), /PrivateKeyFilePath: is missing: the conn/],
    ['no certificate setting', without(x509(chain, key), 'CertFilePath'), /CertFilePath: is missing: the connection/],
    ['a relative path', x509('pi1.pem', key), /CertFilePath: must be an absolute path$/],
    ['a key in the string', x509(chain, key, { connectionData: data('SharedAccessKey=QUFB') }), /must be "string"$/],
    ['both', x509(chain, key, { connectionData: data('x509=true;SharedAccessKey=QUFB') }), /has both x509 and Sha/],
    ['x509=false', x509(chain, key, { connectionData: data('x509=false') }), /has an x509 that is not "true"$/],
    [
      'an id with a blank',
      x509(chain, key, { connectionData: 'HostName=h;DeviceId=pi 1' }),
      /DeviceId with characters/,
    ],
    ['a long id', x509(chain, key, { connectionData: `HostName=h;DeviceId=${'p'.repeat(129)}` }), /more than 128 char/],
    ['a module with a slash', x509(chain, key, { connectionData: data('ModuleId=a/b') }), /ModuleId with characters/],
    ['the wrong type', x509(chain, key, { connectionType: 'string' }), /no effect with the connection type string/],
    [
      'the wrong type in capitals',
      x509(chain, key, { connectionType: 'STRING' }),
      /no effect with the connection type string/,
    ],
    [
      'files with AIS',
      x509(chain, key, { connectionType: 'ais' }),
      /CertFilePath: has no effect with the connection type ais/,
    ],
    [
      'an unknown type',
      x509(chain, key, { connectionType: 'TPM' }),
      /connectionType: must be "string", "X509" or "AIS"$/,
    ],
  ]
  for (const [name, config, says] of rows) {
    await assert.rejects(check(config), (error: Error) => {
      assert.ok(error instanceof ConfigError, `${name}: ${error.stack}`)
      assert.match(error.message, says, name)
      assert.match(error.message, new RegExp(`${FIELD}|connectionData|connectionType|opensslEngine|keyPassphraseFile`))
      assert.doesNotMatch(error.message, /\n/)
      for (const secret of [...secrets, PHRASE, 'nonsense', 'QUFB']) assert.ok(!error.message.includes(secret), name)
      return true
    })
  }
})

const data = (more: string): string => `HostName=hub.example.com;DeviceId=pi1;${more}`

function without(config: Any, name: string): Any {
  delete config.agents[0].connectionSource[`connectionX509${name}`]
  return config
}

test('a passphrase without a certificate stops the start', async () => {
  const config = x509(chain, key)
  config.agents[0].connectionSource = { connectionType: 'string', connectionData: data('SharedAccessKey=QUFB') }
  await assert.rejects(
    check(withPhrase(config, path('phrase'))),
    /piAdu\.hub\.keyPassphraseFile: has no effect without/,
  )
})

test('what is strange but may work is a warning', async () => {
  certificate('other', { cn: 'PI1', issuer: 'middle' })
  const [name = ''] = await check(x509(path('other.pem'), path('other.key')))
  assert.match(name, /CertFilePath: the certificate is for "PI1"; .* expects "pi1"$/)
  // Known by its thumbprint, so the name means nothing.
  assert.deepEqual(await check(x509(path('alone.pem'), path('alone.key'))), [])
  const issuer = x509(chain, key, { connectionX509CaCertFilePath: path('middle.pem') })
  assert.match((await check(issuer)).join(), /CaCertFilePath: is the issuer of this device's certificate/)
  const twice = { ...x509(chain, key, { connectionX509CaCertFilePath: path('root.pem') }) }
  assert.match(
    (await check({ ...twice, piAdu: { hub: { caFile: path('root.pem') } } })).join(),
    /CaCertFilePath: no effect/,
  )
  certificate('module', { cn: 'pi1/du', issuer: 'middle' })
  const module = x509(path('module.pem'), path('module.key'), { connectionData: data('ModuleId=du') })
  assert.deepEqual(await check(module), [])
})

test('an authority of the reference’s field is added to Node’s list, and replaces nothing', async () => {
  const config = x509(chain, key, { connectionX509CaCertFilePath: path('root.pem') })
  const { hubCa = '' } = await readConfig(write('du-config.json', JSON.stringify(config)), {})
  assert.ok(hubCa.split('-----BEGIN CERTIFICATE-----').length > 50)
  assert.ok(hubCa.includes(text('root.pem')))
})

test('the chain is sent from the device’s certificate upwards; files are read for each connection', async () => {
  const certificateFile = write('now.pem', text('middle.pem') + text('pi1.pem'))
  const keyFile = write('now.key', text('pi1.key'))
  const warnings: unknown[] = []
  const log = { debug() {}, info() {}, error() {}, warn: (...args: unknown[]) => void warnings.push(args) }
  const config = await readConfig(write('du-config.json', JSON.stringify(x509(certificateFile, keyFile))), {})
  const settings = identitySettings(config)
  const identity = new CertificateIdentity(
    'HostName=h.net;DeviceId=pi1;ModuleId=m;GatewayHostName=edge:8883;x509=true',
    settings.kind === 'certificate' ? settings.files : assert.fail(),
    log,
  )
  const first = await identity.get(signal)
  assert.deepEqual([first.hub, first.gateway, first.deviceId, first.moduleId], ['h.net', 'edge:8883', 'pi1', 'm'])
  const chainOf = async () => {
    const { auth } = await identity.get(signal)
    return auth.kind === 'x509' ? auth.chain : assert.fail()
  }
  assert.equal(await chainOf(), text('chain.pem'))

  // An operator swaps the files, one after the other.
  write('now.pem', text('rsa.pem'))
  assert.equal(await chainOf(), text('chain.pem'))
  assert.match(JSON.stringify(warnings), /identity\.unusable.*does not belong.*the earlier certificate stays in use/)
  write('now.key', text('rsa.key'))
  assert.equal(await chainOf(), text('rsa.pem'))
})

test('a file that is unusable from the start is a HubError in words', async () => {
  const log = { debug() {}, info() {}, error() {}, warn() {} }
  const files = {
    certificate: { setting: 'cert', path: path('none.pem') },
    key: { setting: 'key', path: key },
    passphrase: undefined,
    passphraseSetting: 'phrase',
  }
  await assert.rejects(new CertificateIdentity(data('x509=true'), files, log).get(signal), {
    name: 'HubError',
    message: /^no identity: cert: cannot be read: ENOENT/,
  })
  await assert.rejects(new CertificateIdentity(data('Modul=x'), files, log).get(signal), {
    name: 'HubError',
    message: /^no identity: the connection string has a field that is none of/,
  })
})

test('check-config refuses a pair that is none, and shows no secret', () => {
  const run = (config: Any) => {
    const argv = [join(repositoryRoot(), 'dist/src/main.js'), 'check-config', '--show', '--config']
    const file = write('shown.json', JSON.stringify(config))
    return spawnSync(process.execPath, [...argv, file], { encoding: 'utf8', env: {} })
  }
  const good = run(withPhrase(x509(chain, path('pkcs8.key')), path('phrase')))
  assert.equal(good.status, 0, good.stderr)
  assert.match(good.stdout, /connectionData +"HostName=hub\.example\.com;DeviceId=pi1;x509=true"/)
  for (const secret of [...secrets, PHRASE]) assert.ok(!good.stdout.includes(secret))
  const bad = run(x509(path('alone.pem'), key))
  assert.equal(bad.status, 78)
  assert.match(bad.stderr, /^pi-adu: \S+shown\.json: agents\.0\.connectionSource\.connectionX509CertFilePath: .*\n$/)
})

test('the end of a certificate is said in time: log, doctor; a short life has a short notice', async () => {
  const day = 86_400_000
  const leaf = new X509Certificate(text('pi1.pem'))
  const end = Date.parse(leaf.validTo)
  const at = (days: number) => nearingEnd(leaf, new Date(end - days * day))
  // It lives 30 days, so a fifth of that counts.
  assert.deepEqual([at(30), at(7)], [undefined, undefined])
  assert.match(at(5.5) ?? '', /^ends in 5 days, on \d{4}-\d\d-\d\d$/)
  assert.match(at(0.5) ?? '', /^ends within a day/)
  assert.match(at(-1) ?? '', /^ended on .*, by this device's clock$/)

  const warned: unknown[] = []
  const warning = new EndWarning({ debug() {}, info() {}, error() {}, warn: (...each) => void warned.push(each) })
  for (const hours of [200, 100, 99, 90, 75]) warning.see(leaf, new Date(end - hours * 3_600_000))
  assert.equal(warned.length, 2, 'once a day')
  assert.match(JSON.stringify(warned), /identity\.certificate-ends.*the certificate of this device ends in 4 days/)

  const config = await readConfig(write('du-config.json', JSON.stringify(x509(chain, key))), {})
  const [good] = await deviceCertificate(config)
  assert.equal(good?.is, 'ok')
  const [old] = await deviceCertificate(config, new Date(end + day))
  assert.equal(old?.is, 'warn')
  assert.match(old?.says ?? '', /ended on/)
  const certificates = await certificateWarnings(config, new Date(end - day))
  assert.match(certificates.join(), /^ends in 1 days?, on/)
  assert.match(describeStatus(NOTHING, { now: new Date(), uptime: 0, certificates }), /^certificate ends in 1 day,/m)
  assert.deepEqual(await certificateWarnings(config, new Date(end - 9 * day)), [])
})
