import assert from 'node:assert/strict'
import test, { type TestContext } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type device from 'azure-iot-device'
import { providerOf } from '../../src/adapters/iot-hub/authentication.ts'

type Provider = InstanceType<typeof device.SharedAccessKeyAuthenticationProvider>

/** Lives 1000 s, and is renewed 900 s before its end. */
function provider(sign: () => Promise<string>): { provider: Provider; lost: string[] } {
  const lost: string[] = []
  const identity = {
    hub: 'hub.test',
    gateway: undefined,
    deviceId: 'pi',
    moduleId: undefined,
    auth: { kind: 'signer', sign },
  } as const
  const made = providerOf(identity, 1000, 0, why => void lost.push(why))
  return { provider: made as Provider, lost }
}

function timersOf({ mock }: TestContext): () => Promise<void> {
  mock.timers.enable({ apis: ['setTimeout'] })
  return async () => {
    mock.timers.tick(100_000)
    for (let turns = 0; turns < 5; turns++) await turn()
  }
}

test('a renewal of the token that fails loses the connection, and does not end the process', async context => {
  const later = timersOf(context)
  let signed = 0
  const { provider: signing, lost } = provider(async () => {
    signed += 1
    if (signed > 2) throw new Error('the keeper of the key is away')
    return 'c2lnbmF0dXJl'
  })
  await signing.getDeviceCredentials()
  await later()
  assert.deepEqual([signed, lost], [2, []])
  await later()
  assert.deepEqual([signed, lost], [3, ['the keeper of the key is away']])
})

test('a token that is signed after the end of the connection starts no timer', async context => {
  const later = timersOf(context)
  let signed = 0
  let sign = (_: string) => {}
  const { provider: signing } = provider(() => {
    signed += 1
    return new Promise(resolve => {
      sign = resolve
    })
  })
  const credentials = signing.getDeviceCredentials()
  signing.stop()
  sign('c2lnbmF0dXJl')
  await credentials
  await later()
  assert.equal(signed, 1)
})
