import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { test } from 'node:test'
import { execa } from 'execa'
import type { Fault } from '../bench/hub/faults.ts'
import { aHub, within } from '../hub/support.ts'
import { RawProvisioning, type Reply } from './support.ts'

// Each fault does what its name says, once, and only to the device it names.

type Provisioning = Extract<Fault, { kind: 'provisioning' }>

async function aDevice(t: Parameters<typeof aHub>[0], more: object = {}) {
  const hub = await aHub(t)
  hub.provisioning.enrollGroup({ enrollmentGroupId: 'fleet', attestation: { type: 'symmetricKey' }, ...more })
  const key = hub.provisioning.deviceKey('fleet', 'pi')
  const inject = (at: Provisioning['at'], plan: Provisioning['do']) =>
    hub.faults.inject({ kind: 'provisioning', at, do: plan, deviceId: 'pi' })
  return { hub, key, inject, open: (version?: string) => RawProvisioning.open(t, hub, 'pi', key, version) }
}

test('at CONNECT and SUBSCRIBE', async t => {
  const { hub, key, inject, open } = await aDevice(t)
  inject('connect', { do: 'refuse', code: 3 })
  assert.equal((await RawProvisioning.connect(hub, 'pi', { key })).returnCode, 3)
  inject('connect', { do: 'cut' })
  await assert.rejects(RawProvisioning.connect(hub, 'pi', { key }), /closed without connack/)
  inject('connect', { do: 'lose' })
  const other = hub.provisioning.deviceKey('fleet', 'other')
  assert.equal((await RawProvisioning.connect(hub, 'other', { key: other })).returnCode, 0, 'not this device')
  await assert.rejects(within(300, RawProvisioning.connect(hub, 'pi', { key })), /not settled/)

  const client = await open()
  inject('subscribe', { do: 'refuse' })
  assert.deepEqual(await client.subscribe(), [128])
  inject('subscribe', { do: 'lose' })
  await assert.rejects(within(300, client.subscribe()), /not settled/)
  inject('subscribe', { do: 'cut' })
  await assert.rejects(client.subscribe(), /closed without suback/)
})

for (const step of ['register', 'poll'] as const) {
  test(`at ${step}`, async t => {
    const { inject, open } = await aDevice(t)
    const first = await open()
    const { operationId } = (await first.register()).body
    const ask = async (plan: Provisioning['do']): Promise<Reply> => {
      const client = await open()
      inject(step, plan)
      return await (step === 'register' ? client.register() : client.poll(operationId))
    }
    await assert.rejects(ask({ do: 'cut' }), /closed without publish/)
    await assert.rejects(within(300, ask({ do: 'lose' })), /not settled/)
    assert.match((await ask({ do: 'otherRid' })).rid, /^[rp]10$/)
    const failed = await ask({ do: 'fail', status: 429, retryAfter: '5' })
    assert.deepEqual([failed.status, failed.retryAfter, failed.body.errorCode], [429, '5', 429001])
    assert.equal((await ask({ do: 'fail', status: 500 })).retryAfter, undefined)
    assert.equal((await ask({ do: 'retryAfter', value: '3000000000' })).retryAfter, '3000000000')
    for (const body of ['<html>', '', 'null', '[]', '{}']) {
      assert.equal((await ask({ do: 'answer', body, status: 200 })).text, body)
    }
    // As large as a packet may be to the client that the tests use.
    assert.equal((await ask({ do: 'answer', body: '{', bytes: 1 << 20 })).text.length, 1 << 20)
    const before = performance.now()
    await ask({ do: 'delay', ms: 200 })
    assert.ok(performance.now() - before >= 199)

    const client = await open()
    inject(step, { do: 'cutAfter' })
    await (step === 'register' ? client.register() : client.poll(operationId))
    await within(5000, client.raw.closed)
  })
}

test('at the outcome: other members', async t => {
  const { inject, open } = await aDevice(t)
  const client = await open()
  inject('assigned', { do: 'state', changes: { assignedHub: 'evil.example/..', deviceId: '' } })
  const { assignedHub, deviceId, substatus } = (await client.assign()).body.registrationState
  assert.deepEqual([assignedHub, deviceId, substatus], ['evil.example/..', '', 'initialAssignment'])
  assert.equal((await client.assign()).body.registrationState.deviceId, 'pi')
})

test('at the outcome: a wrong certificate', async t => {
  const { inject, open } = await aDevice(t, { credentialPolicyName: 'bench' })
  const client = await open('2026-11-01')
  const line = 'req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /dev/null -outform DER -subj /CN=pi'
  const { stdout } = await execa('openssl', line.split(' '), { encoding: 'buffer' })
  const csr = Buffer.from(stdout).toString('base64')
  const issued = async (how?: Extract<Provisioning['do'], { do: 'certificate' }>['how']) => {
    if (how) inject('assigned', { do: 'certificate', how })
    const { registrationState } = (await client.assign({ registrationId: 'pi', csr })).body
    return (registrationState.issuedCertificateChain as string[]).map(
      der => new X509Certificate(Buffer.from(der, 'base64')),
    )
  }
  const now = Date.now()
  const [good] = await issued()
  const [expired, upper] = await issued('expired')
  assert.ok(Date.parse(expired!.validTo) < now && expired?.checkIssued(upper!))
  assert.ok(Date.parse((await issued('notYetValid'))[0]!.validFrom) > now)
  assert.equal((await issued('otherName'))[0]?.subject, 'CN=pi-other')
  const [otherKey] = await issued('otherKey')
  assert.equal(otherKey?.subject, 'CN=pi')
  assert.equal(otherKey?.publicKey.equals(good!.publicKey), false)
  assert.equal((await issued('noLeaf')).length, 2)
  assert.equal((await issued('reversed'))[2]?.subject, 'CN=pi')
})
