import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { connect } from 'node:tls'
import { checkServerIdentity } from '../../src/adapters/tls/server-identity.ts'
import { ensureCertificates } from '../bench/hub/certs.ts'
import { Devices } from '../bench/hub/devices.ts'
import { Events } from '../bench/hub/events.ts'
import { startHub } from '../bench/hub/hub.ts'
import { newPolicyKeys } from '../bench/hub/policies.ts'
import { Store } from '../bench/hub/store.ts'
import { rest } from './rest-call.ts'
import { aHub, tempDir, within } from './support.ts'

const fresh = { policies: newPolicyKeys(), ports: { mqtt: 0, rest: 0 } }
const quiet = () => {}

test('what was put is there for the next hub, settings included', async t => {
  const dir = await tempDir(t)
  const store = await Store.open(dir, fresh, quiet)
  const devices = new Devices(store, new Events(quiet))
  devices.create('a')
  devices.create('b')
  devices.report('b', { n: 1 })
  devices.delete('a')
  await store.close()

  const again = await Store.open(dir, { policies: newPolicyKeys(), ports: { mqtt: 1, rest: 1 } }, quiet)
  assert.deepEqual([...again.all()], [devices.get('b')])
  assert.deepEqual(again.settings, fresh)
})

test('many changes make few writes', async t => {
  const dir = await tempDir(t)
  const store = await Store.open(dir, fresh, quiet)
  const devices = new Devices(store, new Events(quiet))
  for (let n = 0; n < 500; n++) devices.create(`d${n}`)
  await store.flush()
  const written = (await readFile(join(dir, 'hub.json'), 'utf8')).length
  // The moment for which changes are collected does not pass, however busy the machine is.
  t.mock.timers.enable({ apis: ['setTimeout'] })
  for (let round = 0; round < 10; round++) {
    for (let n = 0; n < 500; n++) devices.report(`d${n}`, { round })
    await new Promise(resolve => setImmediate(resolve))
  }
  assert.equal((await readFile(join(dir, 'hub.json'), 'utf8')).length, written)
  t.mock.timers.reset()
  await store.close()
  const again = await Store.open(dir, fresh, quiet)
  assert.equal(again.get('d499')!.twin.reported.version, 11)
})

test('a change is written by itself, and a half-written file beside it does not matter', async t => {
  const dir = await tempDir(t)
  await writeFile(join(dir, 'hub.json.new'), '{"format":1,"sett')
  const store = await Store.open(dir, fresh, quiet)
  new Devices(store, new Events(quiet)).create('a')
  for (;;) {
    const text = await readFile(join(dir, 'hub.json'), 'utf8').catch(() => '')
    if (text.includes('"id":"a"')) break
    await new Promise(resolve => setTimeout(resolve, 20))
  }
  await store.close()
})

test('a damaged file is named, not overwritten', async t => {
  const dir = await tempDir(t)
  await writeFile(join(dir, 'hub.json'), 'oops')
  await assert.rejects(startHub({ stateDir: dir }), /cannot read the hub's state in .*hub\.json/)
  assert.equal(await readFile(join(dir, 'hub.json'), 'utf8'), 'oops')
})

test('certificates: made once, for every name of the bench, valid for any clock', async t => {
  const dir = join(await tempDir(t), 'certs')
  const made = await ensureCertificates(dir)
  assert.deepEqual(await ensureCertificates(dir), made)
  const server = new X509Certificate(made.cert)
  for (const name of ['localhost', 'bench.azure-devices.net', 'content.bench.local']) {
    assert.equal(server.checkHost(name), name)
  }
  for (const address of ['127.0.0.1', '::1']) assert.equal(server.checkIP(address), address)
  assert.ok(server.verify(new X509Certificate(made.ca).publicKey))
  assert.ok(Date.parse(server.validFrom) <= Date.parse('2020-01-02'))
  assert.ok(Date.parse(server.validTo) >= Date.parse('2049-01-01'))
})

test('both loopback families are served on both ports', async t => {
  const hub = await aHub(t)
  for (const port of [hub.mqttPort, hub.restPort]) {
    for (const host of ['127.0.0.1', '::1']) {
      const socket = connect({ host, port, ca: hub.ca, checkServerIdentity })
      await within(2000, new Promise((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject)))
      socket.destroy()
    }
  }
})

test('a taken port is an error that leaves nothing running', async t => {
  const hub = await aHub(t)
  const stateDir = await tempDir(t)
  await assert.rejects(startHub({ stateDir, mqttPort: 0, restPort: hub.restPort }), { code: 'EADDRINUSE' })
})

test('REST connections are kept for longer than pollers pause', async t => {
  const hub = await aHub(t)
  const { headers } = await rest(hub, 'GET', '/devices', { headers: { connection: 'keep-alive' } })
  assert.equal(headers['keep-alive'], 'timeout=65')
})
