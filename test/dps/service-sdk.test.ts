import assert from 'node:assert/strict'
import { test } from 'node:test'
import { execa } from 'execa'
import { selfSignedDevice } from '../bench/dps/authority.ts'
import type { BenchHub } from '../bench/hub/hub.ts'
import { aHub } from '../hub/support.ts'
import { registerBySdk } from './support.ts'

// Microsoft's service client, unmodified, under the instance's name in the cloud.

async function run(hub: BenchHub, body: string, more: Record<string, string> = {}): Promise<unknown> {
  const program = `
    const { ProvisioningServiceClient } = require('azure-iot-provisioning-service')
    const client = ProvisioningServiceClient.fromConnectionString(process.env.CONNECTION)
    const outcome = async work => work.then(() => 'done', error => error.response?.statusCode ?? error.name)
    async function main() { ${body} }
    main().then(result => console.log(JSON.stringify(result)), error => { console.error(error); process.exit(1) })
  `
  const env = { ...hub.childEnvironment(), CONNECTION: hub.provisioning.serviceConnectionString, ...more }
  const { stdout } = await execa('node', ['-e', program], { env, cwd: import.meta.dirname, timeout: 60_000 })
  return JSON.parse(stdout)
}

test('individual enrolments: made, read, changed by etag, queried, removed', async t => {
  const hub = await aHub(t)
  const seen = await run(
    hub,
    `
      const attestation = { type: 'symmetricKey' }
      const { responseBody: made } = await client.createOrUpdateIndividualEnrollment({ registrationId: 'Pi-1', deviceId: 'gate', attestation })
      const keys = (await client.getIndividualEnrollmentAttestationMechanism('pi-1')).responseBody
      const { responseBody: changed } = await client.createOrUpdateIndividualEnrollment({ ...made, provisioningStatus: 'disabled' })
      const kept = (await client.getIndividualEnrollmentAttestationMechanism('pi-1')).responseBody
      const stale = await outcome(client.createOrUpdateIndividualEnrollment({ ...made, provisioningStatus: 'enabled' }))
      const again = await outcome(client.createOrUpdateIndividualEnrollment({ registrationId: 'pi-1', attestation }))
      const query = client.createIndividualEnrollmentQuery({ query: 'SELECT *' }, 10)
      const found = await new Promise((resolve, reject) => query.next((error, result) => error ? reject(error) : resolve(result)))
      const { responseBody: read } = await client.getIndividualEnrollment('pi-1')
      await client.deleteIndividualEnrollment(read)
      const gone = await outcome(client.getIndividualEnrollment('pi-1'))
      return {
        made: [made.registrationId, made.deviceId, made.attestation.symmetricKey.primaryKey ?? null],
        size: keys.symmetricKey.primaryKey.length,
        kept: kept.symmetricKey.primaryKey === keys.symmetricKey.primaryKey,
        status: changed.provisioningStatus, stale, again, gone,
        found: found.map(each => each.registrationId),
      }
    `,
  )
  assert.deepEqual(seen, {
    made: ['pi-1', 'gate', null],
    size: 44,
    kept: true,
    status: 'disabled',
    stale: 412,
    again: 409,
    gone: 404,
    found: ['pi-1'],
  })
})

test('groups and registrations: a device of the group registers, is seen, and is forgotten', async t => {
  const hub = await aHub(t)
  await run(
    hub,
    `return (await client.createOrUpdateEnrollmentGroup({
      enrollmentGroupId: 'fleet', attestation: { type: 'symmetricKey' },
      initialTwin: { tags: { ADUGroup: 'pilot' } }, provisioningStatus: 'enabled',
    })).responseBody`,
  )
  await registerBySdk(hub, 'pi-1', hub.provisioning.deviceKey('fleet', 'pi-1'))
  assert.deepEqual(hub.getTwin('pi-1').tags, { ADUGroup: 'pilot' })
  const seen = await run(
    hub,
    `
      const { responseBody: state } = await client.getDeviceRegistrationState('pi-1')
      const query = client.createEnrollmentGroupDeviceRegistrationStateQuery({ query: 'SELECT *' }, 'fleet')
      const list = await new Promise((resolve, reject) => query.next((error, result) => error ? reject(error) : resolve(result)))
      await client.deleteDeviceRegistrationState('pi-1')
      // Only the device is told how it has proved its identity.
      const more = [state, ...list].map(each => 'symmetricKey' in each || 'x509' in each)
      return [state.status, state.deviceId, ...more, await outcome(client.getDeviceRegistrationState('pi-1'))]
    `,
  )
  assert.deepEqual(seen, ['assigned', 'pi-1', false, false, 404])
})

test('many at once: some succeed, each failure is named', async t => {
  const hub = await aHub(t)
  const { cert } = await selfSignedDevice('pi-2')
  // Without a callback its promise never settles.
  const seen = await run(
    hub,
    `
      const x509 = { clientCertificates: { primary: { certificate: process.env.CERT } } }
      const enrollments = [
        { registrationId: 'pi-1', attestation: { type: 'symmetricKey' } },
        { registrationId: 'pi-2', attestation: { type: 'x509', x509 } },
        { registrationId: 'pi-3', attestation: { type: 'x509', x509: { clientCertificates: { primary: { certificate: 'AAAA' } } } } },
      ]
      return new Promise((resolve, reject) =>
        client.runBulkEnrollmentOperation({ mode: 'create', enrollments }, (error, result) => error ? reject(error) : resolve(result)))
    `,
    { CERT: cert },
  )
  const errors = [{ registrationId: 'pi-3', errorCode: 400004, errorStatus: 'not a certificate' }]
  assert.deepEqual(seen, { isSuccessful: false, errors })
  assert.deepEqual([...hub.provisioning.store.individuals.keys()], ['pi-1', 'pi-2'])
})

test('another key is refused', async t => {
  const hub = await aHub(t)
  const { serviceConnectionString } = hub.provisioning
  const CONNECTION = serviceConnectionString.replace(/SharedAccessKey=.*/, `SharedAccessKey=${'A'.repeat(43)}=`)
  assert.equal(await run(hub, `return outcome(client.getIndividualEnrollment('x'))`, { CONNECTION }), 401)
})
