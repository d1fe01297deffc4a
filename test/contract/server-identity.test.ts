import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after } from 'node:test'
import type { PeerCertificate } from 'node:tls'
import { checkServerIdentity } from '../../src/adapters/tls/server-identity.ts'
import { runProgram } from '../bench/workbench/program.ts'

const dir = await mkdtemp(join(tmpdir(), 'server-identity-'))
after(() => rm(dir, { recursive: true }))
const file = join(dir, 'cert.pem')
await runProgram([
  ...[
    'openssl',
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:prime256v1',
    '-nodes',
    '-subj',
    '/CN=x',
  ],
  ...['-keyout', join(dir, 'key.pem'), '-out', file],
  ...['-addext', 'subjectAltName=DNS:files.example.com,IP:127.0.0.1,IP:::1,IP:2001:db8::a'],
] as [string, ...string[]])
const certificate = new X509Certificate(await readFile(file)).toLegacyObject() as unknown as PeerCertificate

for (const host of ['files.example.com', '127.0.0.1', '::1', '2001:db8::a', '2001:DB8:0:0::A']) {
  test(`${host} is in the certificate`, () => {
    assert.equal(checkServerIdentity(host, certificate), undefined)
  })
}

for (const host of ['example.com', '127.0.0.2', '::2', '2001:db8::b', '']) {
  test(`${host || 'no name'} is not in the certificate`, () => {
    assert.match(checkServerIdentity(host, certificate)?.message ?? '', /does not match/)
  })
}
