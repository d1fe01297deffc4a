import assert from 'node:assert/strict'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { test } from 'node:test'
import { openBundleSigner } from '../bench/workbench/bundle-key.ts'
import { runProgram } from '../bench/workbench/program.ts'
import { at, create, dir, image, shown, signer, swupdate, usual } from './authoring.ts'
import { operator } from './support.ts'

test('certificates: a signature is made just where real SWUpdate takes it', async () => {
  const rows: readonly (readonly [string, readonly string[], RegExp | undefined])[] = [
    ['mail', ['extendedKeyUsage=emailProtection'], undefined],
    ['any', [], undefined],
    ['code', ['extendedKeyUsage=codeSigning'], /not for signing mail: it needs the extended key usage emailProtection/],
    ['server', ['extendedKeyUsage=serverAuth', 'keyUsage=digitalSignature'], /not for signing mail/],
    ['cipher', ['keyUsage=keyEncipherment'], /not for signing mail/],
  ]
  const libraries = await runProgram(['sh', '-c', 'ldd "$(PATH=$PATH:/usr/sbin command -v swupdate)"'])
  for (const [name, extensions, fault] of rows) {
    await runProgram([
      ...(['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '99', '-subj', '/CN=x'] as const),
      ...['-keyout', at(`${name}.key`), '-out', at(`${name}.pem`), ...extensions.flatMap(each => ['-addext', each])],
    ])
    const pair = ['--cert', at(`${name}.pem`), '--key', at(`${name}.key`)]
    const { exitCode, stderr } = await create(`${name}.swu`, '--hardware', '1.0', '--image', image, ...pair)
    if (fault) assert.match(stderr, fault)
    assert.equal(exitCode, fault ? 64 : 0, `${name}: ${stderr}`)
    // The same signature, made without us.
    const list = await readFile(at('list'), 'utf8').catch(async () => {
      await create('good.swu', ...usual(), '--image', image)
      await mkdir(at('good'))
      await runProgram(['cpio', '--quiet', '-id', '--no-absolute-filenames', '-F', at('good.swu')], { cwd: at('good') })
      const text = await readFile(at('good/sw-description'), 'utf8')
      await writeFile(at('list'), text)
      return text
    })
    await writeFile(at('good/sw-description'), list)
    await runProgram(
      [
        ...([
          'openssl',
          'cms',
          '-sign',
          '-in',
          'sw-description',
          '-out',
          'sw-description.sig',
          '-outform',
          'DER',
        ] as const),
        ...['-signer', at(`${name}.pem`), '-inkey', at(`${name}.key`), '-nosmimecap', '-binary'],
      ],
      { cwd: at('good') },
    )
    const input = 'sw-description\nsw-description.sig\nrootfs.ext4\n'
    await runProgram(['cpio', '--quiet', '-o', '-H', 'crc', '-F', at('theirs.swu')], { cwd: at('good'), input })
    const said = await swupdate('theirs.swu', 'a', ['-c'], at(`${name}.pem`))
    const isTaken = said.includes('SWUPDATE successful !')
    if (!fault) assert.ok(isTaken, `${name}: ${said}`)
    // With wolfSSL, as in Debian 13, SWUpdate does not look at the usage; with OpenSSL, which other devices have, it does.
    else if (!libraries.includes('wolfssl')) assert.ok(!isTaken, `${name}: ${said}`)
    const { signature, findings } = await shown('theirs.swu', '--cert', at(`${name}.pem`))
    assert.equal(signature, fault ? 'bad' : 'good', name)
    if (fault) assert.match(findings.join(), fault)
  }
})

test('a signer below a root: only --ca makes it one that the devices take', async () => {
  await writeFile(at('ext'), 'extendedKeyUsage=emailProtection\n')
  const openssl = (...args: string[]) => runProgram(['openssl', ...args], { cwd: dir })
  await openssl(
    'req',
    '-x509',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-subj',
    '/CN=root',
    '-keyout',
    'root.key',
    '-out',
    'root.pem',
  )
  await openssl(
    'req',
    '-new',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-subj',
    '/CN=leaf',
    '-keyout',
    'leaf.key',
    '-out',
    'leaf.csr',
  )
  await openssl(
    ...['x509', '-req', '-in', 'leaf.csr', '-CA', 'root.pem', '-CAkey', 'root.key', '-CAcreateserial'],
    ...['-out', 'leaf.pem', '-extfile', 'ext'],
  )
  const args = ['--hardware', '1.0', '--image', image, '--cert', at('leaf.pem'), '--key', at('leaf.key')]
  const alone = await create('leaf.swu', ...args)
  assert.match(alone.stderr, /verifies with .*leaf\.pem would refuse this signature: .*issuer certificate/)
  assert.equal(alone.exitCode, 64)
  assert.equal((await create('leaf.swu', ...args, '--ca', at('root.pem'))).stderr, '')
  assert.match(await swupdate('leaf.swu', 'a', ['-c'], at('root.pem')), /SWUPDATE successful/)
  assert.equal((await shown('leaf.swu', '--cert', at('root.pem'))).signature, 'good')
})

test('what is no certificate, and what is no CMS signature, is named', async () => {
  await runProgram(['openssl', 'pkey', '-in', signer.key, '-pubout', '-out', at('public.pem')])
  for (const [cert, line] of [
    ['public.pem', /public\.pem has a public key: SWUpdate verifies CMS/],
    ['rootfs.ext4', /not a PEM file/],
  ] as const) {
    const made = await create('never.swu', '--hardware', '1', '--image', image, '--cert', at(cert), '--key', signer.key)
    assert.match(made.stderr, line)
    await create('good.swu', ...usual(), '--image', image)
    const { stderr, exitCode } = await operator(['bundle', 'show', at('good.swu'), '--cert', at(cert)])
    assert.match(stderr, line)
    assert.deepEqual([made.exitCode, exitCode], [64, 64])
  }
  const stranger = await openBundleSigner(dir, 'stranger')
  const mixed = ['--hardware', '1', '--image', image, '--cert', signer.certificate, '--key', stranger.key]
  assert.match((await create('never.swu', ...mixed)).stderr, /is not the key of the certificate/)

  await mkdir(at('raw'))
  await runProgram(['cpio', '--quiet', '-id', '--no-absolute-filenames', '-F', at('good.swu')], { cwd: at('raw') })
  const input = 'sw-description\nsw-description.sig\nrootfs.ext4\n'
  const sign = ['-sign', signer.key, '-out', 'sw-description.sig', 'sw-description'] as const
  const signatures: readonly (readonly [readonly [string, ...string[]], RegExp])[] = [
    [['openssl', 'dgst', '-sha256', ...sign], /looks like a raw RSA signature, SWUpdate of Debian wants CMS/],
    [['sh', '-c', 'echo hello > sw-description.sig'], /it is not a CMS signature/],
    [['sh', '-c', 'printf "%s\\n" "-----BEGIN CMS-----" > sw-description.sig'], /it is PEM, SWUpdate wants DER/],
  ]
  for (const [argv, line] of signatures) {
    await runProgram(argv, { cwd: at('raw') })
    await runProgram(['cpio', '--quiet', '-o', '-H', 'crc', '-F', at('raw.swu')], { cwd: at('raw'), input })
    const { findings, signature } = await shown('raw.swu', '--cert', signer.certificate)
    assert.equal(signature, 'bad')
    assert.match(findings.join(), line)
  }
})
