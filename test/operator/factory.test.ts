import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { execa } from 'execa'
import { tempDir } from '../hub/support.ts'
import { operator } from './support.ts'

/** Bytes 00 to 3f; the key derived from it is published with it. */
const GROUP_KEY = Buffer.from(Array.from({ length: 64 }, (_, byte) => byte)).toString('base64')

const modeOf = async (path: string) => (await stat(path)).mode & 0o777

test('derive-key: the published key, on the screen and as a file that nobody else can read', async t => {
  const dir = await tempDir(t)
  const groupKeyFile = join(dir, 'group.key')
  // A byte order mark and a Windows line end are not part of the key.
  await writeFile(groupKeyFile, `\uFEFF${GROUP_KEY}\r\n`)
  const args = ['derive-key', '--group-key-file', groupKeyFile]
  const shown = await operator([...args, 'PI-adu-0001'])
  assert.equal(shown.stdout, 'pi-adu-0001  pLWgI2k6+Dsdry2k5mlPCMHLbxvNYWLTWkhaCuSO+ME=')
  const out = join(dir, 'keys')
  const written = await operator([...args, '--out', out, 'pi-adu-0001', 'pi-2'])
  assert.equal(written.exitCode, 0)
  assert.doesNotMatch(written.stdout, /pLWg/)
  const file = join(out, 'pi-adu-0001', 'dps.key')
  assert.equal(await readFile(file, 'utf8'), 'pLWgI2k6+Dsdry2k5mlPCMHLbxvNYWLTWkhaCuSO+ME=\n')
  assert.equal(await modeOf(file), 0o600)
  assert.equal(await modeOf(join(out, 'pi-adu-0001')), 0o700)
})

test('derive-key: the same key again is fine, another one in its place stays', async t => {
  const dir = await tempDir(t)
  const groupKeyFile = join(dir, 'group.key')
  await writeFile(groupKeyFile, GROUP_KEY)
  const derive = () => operator(['derive-key', '--group-key-file', groupKeyFile, '--out', join(dir, 'keys'), 'pi-1'])
  assert.equal((await derive()).exitCode, 0)
  assert.equal((await derive()).exitCode, 0)
  const file = join(dir, 'keys', 'pi-1', 'dps.key')
  await writeFile(file, 'another\n')
  const { exitCode, stderr } = await derive()
  assert.equal(exitCode, 64)
  assert.match(stderr, /pi-1\/dps\.key exists with another content; move it away$/)
  assert.equal(await readFile(file, 'utf8'), 'another\n')
})

test('derive-key: what is not a key or an id is refused, without quoting the key', async t => {
  const dir = await tempDir(t)
  for (const [name, text] of [
    ['short', 'c2hvcnQ='],
    ['words', 'this is the secret of the fleet'],
    ['empty', ''],
  ] as const) {
    await writeFile(join(dir, name), text)
    const { exitCode, stderr } = await operator(['derive-key', '--group-key-file', join(dir, name), 'pi'])
    assert.equal(exitCode, 64)
    assert.match(stderr, /is not a symmetric key: 16 to 64 bytes in base64$/)
    assert.ok(text === '' || !stderr.includes(text))
  }
  await writeFile(join(dir, 'good'), GROUP_KEY)
  for (const id of ['a b', 'ä', 'pi/1', 'pi.', '', 'x'.repeat(129)]) {
    const { exitCode, stderr } = await operator(['derive-key', '--group-key-file', join(dir, 'good'), '--', id])
    assert.equal(exitCode, 64, id)
    assert.match(stderr, /is not a registration id: /)
  }
})

/** A request made by openssl. */
async function aRequest(dir: string, commonName: string): Promise<string> {
  const file = join(dir, `${commonName.replaceAll('/', '_')}.csr`)
  const line = 'req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout k.pem'
  const subject = `/CN=${commonName.replaceAll('/', '\\/')}`
  await execa('openssl', [...line.split(' '), '-out', file, '-subj', subject], { cwd: dir })
  return file
}

test('ca create, ca sign: a chain that openssl verifies, with sane dates and rights', async t => {
  const dir = await tempDir(t)
  const ca = join(dir, 'ca')
  await mkdir(ca) // empty: that is fine
  // As the shell completes the name of a folder.
  assert.equal((await operator(['ca', 'create', `${ca}/`, '--name', 'Contoso devices'])).exitCode, 0)
  assert.deepEqual(await readdir(dir), ['ca'])
  assert.equal(await modeOf(ca), 0o700)
  for (const key of ['root.key', 'intermediate.key']) assert.equal(await modeOf(join(ca, key)), 0o600)

  const out = join(dir, 'pi.pem')
  const { exitCode, stdout } = await operator([
    ...['ca', 'sign', ca, '--csr', await aRequest(dir, 'pi-1'), '--out', out, '--days', '90', '--json'],
  ])
  assert.equal(exitCode, 0)
  await execa('openssl', ['verify', '-x509_strict', '-CAfile', join(ca, 'root.pem'), '-untrusted', out, out])
  const leaf = new X509Certificate(await readFile(out))
  const { commonName, thumbprint, expires } = JSON.parse(stdout)
  assert.equal(commonName, 'pi-1')
  assert.equal(thumbprint, leaf.fingerprint256.replaceAll(':', ''))
  assert.equal(Date.parse(expires), Date.parse(leaf.validTo))
  assert.equal(leaf.ca, false)
  assert.ok(Math.abs(Date.parse(expires) - Date.now() - 90 * 86_400_000) < 600_000)
  assert.ok(Date.parse(leaf.validFrom) < Date.now() - 80_000_000, 'a board without a clock may be behind')
  assert.deepEqual(leaf.keyUsage, ['1.3.6.1.5.5.7.3.2'])
})

test('ca: what would not work is refused in one line', async t => {
  const dir = await tempDir(t)
  const ca = join(dir, 'ca')
  const passphrase = join(dir, 'passphrase')
  await writeFile(passphrase, 'open sesame\n')
  assert.equal((await operator(['ca', 'create', ca, '--name', 'X', '--passphrase-file', passphrase])).exitCode, 0)
  const csr = await aRequest(dir, 'pi-1')
  const out = join(dir, 'pi.pem')
  const sign = (...more: string[]) => operator(['ca', 'sign', ca, '--out', out, ...more])
  const withPassphrase = ['--passphrase-file', passphrase]
  const broken = join(dir, 'broken.csr')
  const lines = (await readFile(csr, 'utf8')).split('\n')
  // The signature's last bytes.
  lines[lines.length - 3] = lines.at(-3)!.replace(/.{6}(?=={0,2}$)/, 'AAAAAA')
  await writeFile(broken, lines.join('\n'))
  await writeFile(join(dir, 'wrong'), 'no\n')
  const cases: [what: string, ran: Promise<{ exitCode: number | undefined; stderr: string }>, why: RegExp][] = [
    ['exists', operator(['ca', 'create', ca, '--name', 'X']), /is not empty/],
    ['name', operator(['ca', 'create', join(dir, 'b'), '--name', 'a/CN=b']), /--name has/],
    ['no passphrase', sign('--csr', csr), /is encrypted: pass --passphrase-file$/],
    ['wrong passphrase', sign('--csr', csr, '--passphrase-file', join(dir, 'wrong')), /openssl ca .*failed/],
    ['not a request', sign('--csr', passphrase, ...withPassphrase), /is not a certificate request in PEM$/],
    ['broken request', sign('--csr', broken, ...withPassphrase), /the request is not signed by its own key$/],
    ['bad name', sign('--csr', await aRequest(dir, 'pi 1'), ...withPassphrase), /is not a registration id/],
    ['too long', sign('--csr', csr, '--days', '9000', ...withPassphrase), /goes beyond the intermediate/],
    ['no authority', operator(['ca', 'sign', dir, '--csr', csr, '--out', out]), /cannot read .*intermediate.pem/],
  ]
  for (const [what, ran, why] of cases) {
    const { exitCode, stderr } = await ran
    assert.ok(exitCode === 64 || exitCode === 1, `${what}: ${exitCode}`)
    assert.match(stderr, why, what)
    assert.equal(stderr.split('\n').length, 1, what)
  }
  assert.equal((await readdir(dir)).includes('pi.pem'), false)
  assert.equal((await sign('--csr', csr, ...withPassphrase)).exitCode, 0)
  const first = await readFile(out)
  const second = await sign('--csr', csr, ...withPassphrase)
  assert.equal(second.exitCode, 64)
  assert.match(second.stderr, /pi\.pem exists with another content; move it away$/)
  assert.deepEqual(await readFile(out), first)
  assert.match(await readFile(join(ca, 'root.key'), 'utf8'), /BEGIN ENCRYPTED PRIVATE KEY/)
})
