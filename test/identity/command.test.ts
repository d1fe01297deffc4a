import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { repositoryRoot } from '../../image/builder/repository.ts'
import { KEY, least } from '../config/examples.ts'
import { folder, x509 } from './files.ts'

// `pi-adu identity`, as a person runs it.

const { dir, path, text, write, certificate } = folder()
certificate('pi1')
const DEVICE_KEY = Buffer.alloc(32, 9).toString('base64')
const key = write('dps.key', DEVICE_KEY)
const secrets = [KEY, DEVICE_KEY, ...text('pi1.key').split('\n').slice(1, -2)]

function identity(config: object, ...more: string[]) {
  const file = write('du-config.json', JSON.stringify({ ...config, dataFolder: join(dir, 'data') }))
  const argv = [join(repositoryRoot(), 'dist/src/main.js'), 'identity', '--config', file, ...more]
  const result = spawnSync(process.execPath, argv, { encoding: 'utf8', env: {} })
  for (const secret of secrets) assert.ok(!`${result.stdout}${result.stderr}`.includes(secret))
  return result
}

function provisioned(section: object) {
  const { agents, ...config } = least()
  const [{ connectionSource: _, ...agent } = { connectionSource: undefined }] = agents
  return { ...config, agents: [agent], piAdu: { provisioning: { idScope: '0ne1', ...section } } }
}

test('a connection string: hub and device', () => {
  const { status, stdout } = identity(least())
  assert.equal(status, 0)
  assert.match(
    stdout,
    /^source {8}connection string\nhub {11}hub\.example\.com\ndevice {8}pi1\ncredential {4}symmetric key\n$/,
  )
})

test('a certificate: subject, thumbprints and dates', () => {
  const config = x509(path('pi1.pem'), path('pi1.key'))
  const { stdout } = identity(config, '--json')
  const facts = JSON.parse(stdout)
  const leaf = new X509Certificate(text('pi1.pem'))
  assert.equal(facts.subject, 'CN=pi1')
  assert.equal(facts.sha1, leaf.fingerprint.replaceAll(':', ''))
  assert.equal(facts.sha256, leaf.fingerprint256.replaceAll(':', ''))
  assert.equal(facts.notAfter, new Date(leaf.validTo).toISOString())
  assert.match(identity(config).stdout, /^SHA-256 {7}[0-9A-F]{64}$/m)
  const broken = identity(x509(path('pi1.pem'), path('none.key')))
  assert.match(broken.stdout, /^device {8}pi1\nproblem {7}\S+connectionX509PrivateKeyFilePath: cannot be read: ENOENT/m)
})

test('the provisioning service: before and after the assignment; an order to register again', () => {
  const config = provisioned({ registrationId: 'PI-7', symmetricKeyFile: key })
  assert.match(
    identity(config).stdout,
    /^registration {2}pi-7\ncredential {4}symmetric key\nhub {11}not assigned yet$/m,
  )
  assert.equal(identity(config, '--register').status, 0)
  mkdirSync(join(dir, 'data/identity'), { recursive: true })
  const inputs = { idScope: '0ne1', registrationId: 'pi-7', host: 'h', credential: 'f' }
  const assignment = { version: 1, inputs, hub: 'hub.net', deviceId: 'Gate', at: '2026-11-26T00:00:00.000Z' }
  write('data/identity/assignment.json', JSON.stringify(assignment))
  assert.match(identity(config).stdout, /^hub {11}hub\.net\ndevice {8}Gate\nassigned {6}2026-11-26T00:00:00\.000Z$/m)
  assert.equal(existsSync(join(dir, 'data/identity/register-again')), false)
  assert.match(identity(config, '--register').stdout, /^The agent registers again before its next connection/)
  assert.equal(existsSync(join(dir, 'data/identity/register-again')), true)
})

test('an order without the provisioning service is a mistake on the command line', () => {
  const { status, stderr } = identity(least(), '--register')
  assert.equal(status, 64)
  assert.equal(stderr, 'pi-adu: there is no piAdu.provisioning, so there is nothing to register\n')
})
