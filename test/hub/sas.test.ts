import assert from 'node:assert/strict'
import { test } from 'node:test'
import common from 'azure-iot-common'
import { createSas, expiryOf, isSignedBy, parseSas, resourceOf } from '../bench/hub/sas.ts'

const KEY = Buffer.from('a secret of the bench').toString('base64')
const OTHER = Buffer.from('another secret').toString('base64')

test('a token made by the SDK verifies, in both notations', () => {
  for (const sr of ['localhost%3A18883%2Fdevices%2Fdev1', 'bench.azure-devices.net', "h%2fdevices%2fa!'()*"]) {
    const token = parseSas(common.SharedAccessSignature.create(sr, 'policy', KEY, 2_000_000_000).toString())
    assert.ok(token)
    assert.equal(token.sr, sr)
    assert.equal(token.skn, 'policy')
    assert.equal(isSignedBy(token, [KEY]), true)
  }
})

test('our token is the same as the one of the SDK, except for the order of fields', () => {
  const fields = (text: string) => text.replace('SharedAccessSignature ', '').split('&').sort()
  const theirs = common.SharedAccessSignature.create('host', 'policy', KEY, 1234).toString()
  assert.deepEqual(fields(createSas('host', KEY, 1234, 'policy')), fields(theirs))
})

test('either of two keys will do, a third will not', () => {
  const token = parseSas(createSas('host', KEY, 1))!
  assert.equal(isSignedBy(token, [OTHER, KEY]), true)
  assert.equal(isSignedBy(token, [OTHER]), false)
})

test('a change of resource, expiry or signature breaks the signature', () => {
  const good = createSas('host%2Fdevices%2Fa', KEY, 1000)
  for (const [from, to] of [
    ['devices%2Fa', 'devices%2Fb'],
    ['%2F', '%2f'],
    ['se=1000', 'se=9000'],
    [/sig=[^&]*/, 'sig=AAAA'],
  ] as const) {
    const token = parseSas(good.replace(from, to))
    assert.ok(token)
    assert.equal(isSignedBy(token, [KEY]), false)
  }
})

test('resource: host in lower case and without port, path as it is', () => {
  const resource = (sr: string) => resourceOf({ sr, sig: '', se: '0' })
  assert.deepEqual(resource('Localhost%3A18883%2Fdevices%2FDev1'), { host: 'localhost', path: '/devices/Dev1' })
  assert.deepEqual(resource('BENCH.azure-devices.net'), { host: 'bench.azure-devices.net', path: '' })
  assert.equal(resource('%zz'), undefined)
})

test('expiry is in milliseconds', () => assert.equal(expiryOf(parseSas(createSas('h', KEY, 12.9))!), 12_000))

for (const text of [
  '',
  'Bearer abc',
  'SharedAccessSignature ',
  'SharedAccessSignature sr=h&sig=x',
  'SharedAccessSignature sr=h&sig=%zz&se=1',
  'SharedAccessSignature sr=h&sig=x&se=soon',
  'SharedAccessSignature sr=h&sr=i&sig=x&se=1',
]) {
  test(`not a token: ${text}`, () => assert.equal(parseSas(text), undefined))
}
