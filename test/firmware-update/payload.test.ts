import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { methodCallOf } from '../../src/adapters/iot-hub/hub-message.ts'
import { CallRefused, type FirmwarePolicy, readFirmwareCall } from '../../src/trust/firmware-call.ts'

const policy: FirmwarePolicy = { enabled: true, allowedHosts: ['files.example.com'], requireSha256: false }
const url = 'https://files.example.com/a.swu'
const hex = 'ab'.repeat(32)
const base64 = Buffer.from(hex, 'hex').toString('base64')

const TAKEN: readonly (readonly [string, unknown, object])[] = [
  ['an object', { fwPackageUri: url }, { url }],
  ['a text with JSON', JSON.stringify({ fwPackageUri: url }), { url }],
  ['the .NET sample', `{ fwPackageUri : '${url}' }`, { url }],
  ['double quotes around the value only', `{fwPackageUri:"${url}"}`, { url }],
  ['single quotes throughout', `{'fwPackageUri':'${url}'}`, { url }],
  [
    'relaxed, with more members',
    `{ fwPackageUri : '${url}', sha256: '${hex}', sizeInBytes: 12, }`,
    { url, sha256: hex, sizeInBytes: 12 },
  ],
  ['relaxed, over lines', `\n{\n  fwPackageUri: '${url}'\n}\n`, { url }],
  [
    'all that may be said',
    { fwPackageUri: url, sha256: hex, sizeInBytes: 7, version: '2.0' },
    { url, sha256: hex, sizeInBytes: 7, version: '2.0' },
  ],
  ['a hash in base64', { fwPackageUri: url, sha256: base64 }, { url, sha256: hex }],
  ['a hash under its later name', { fwPackageUri: url, fwPackageCheckValue: hex.toUpperCase() }, { url, sha256: hex }],
  ['members that mean nothing here', { fwPackageUri: url, color: 'red' }, { url }],
]

const REFUSED: readonly (readonly [string, unknown, RegExp])[] = [
  ['null', null, /the payload is null/],
  ['nothing', undefined, /the payload is a undefined|the payload is/],
  ['a number', 7, /the payload is a number/],
  ['a list', [{ fwPackageUri: url }], /the payload is a list/],
  ['a list in a text', `[{"fwPackageUri":"${url}"}]`, /the payload is a list/],
  ['a text', 'hello', /is a text that is not JSON/],
  ['a text with a number', '7', /the payload is a number/],
  ['an object without the URI', {}, /fwPackageUri is missing/],
  ['other members only', { fwPackage: url, 'a\u009bb': 1 }, /^fwPackageUri is missing; the payload has fwPackage$/],
  ['the URI in the letters of 2018', { fwPackageURI: url }, /^fwPackageURI must be spelled fwPackageUri$/],
  ['a hash in capitals', { fwPackageUri: url, SHA256: hex }, /^SHA256 must be spelled sha256$/],
  [
    'half a hash under its later name',
    { fwPackageUri: url, fwPackageCheckValue: 'abc' },
    /^fwPackageCheckValue is neither/,
  ],
  ['an inherited URI', JSON.parse('{"__proto__":{"fwPackageUri":"https://x/"}}'), /fwPackageUri/],
  ['a URI that is none', { fwPackageUri: 'somewhere' }, /is not a URL/],
  ['a URI that is a number', { fwPackageUri: 7 }, /is not a URL/],
  ['a URI of 3,000 characters', { fwPackageUri: `${url}?${'x'.repeat(3000)}` }, /at most 2048/],
  ['http', { fwPackageUri: 'http://files.example.com/a.swu' }, /only https/],
  ['file', { fwPackageUri: 'file:///etc/shadow' }, /only https/],
  ['javascript', { fwPackageUri: 'javascript:alert(1)' }, /only https/],
  ['another host', { fwPackageUri: 'https://evil.example/a.swu' }, /host evil\.example is not allowed/],
  ['a host that begins alike', { fwPackageUri: 'https://files.example.com.evil.example/' }, /is not allowed/],
  ['the allowed host as a user', { fwPackageUri: 'https://files.example.com@evil.example/' }, /user name/],
  ['a password', { fwPackageUri: 'https://u:p@files.example.com/' }, /user name/],
  ['half a hash', { fwPackageUri: url, sha256: 'abc' }, /sha256 is neither/],
  ['a hash that is a number', { fwPackageUri: url, sha256: 7 }, /sha256 is neither/],
  ['a size below 1', { fwPackageUri: url, sizeInBytes: 0 }, /sizeInBytes/],
  ['a size that is a text', { fwPackageUri: url, sizeInBytes: '7' }, /sizeInBytes/],
  ['a version with a line in it', { fwPackageUri: url, version: '1\n2' }, /version/],
  ['a text of 128 KB', `{"fwPackageUri":"${'x'.repeat(131_000)}"}`, /longer than 8192/],
  ['relaxed, twice the same name', `{fwPackageUri:'${url}',fwPackageUri:'${url}'}`, /is a text that is not JSON/],
  ['relaxed, one in the other', `{a:{fwPackageUri:'${url}'}}`, /is a text that is not JSON/],
]

describe('a call of firmwareUpdate is taken', () => {
  for (const [name, payload, expected] of TAKEN) {
    test(name, () => assert.deepEqual(readFirmwareCall(payload, policy), expected))
  }
})

describe('a call of firmwareUpdate is refused', () => {
  for (const [name, payload, why] of REFUSED) {
    test(name, () =>
      assert.throws(
        () => readFirmwareCall(payload, policy),
        (error: Error) => error instanceof CallRefused && why.test(error.message) && !error.message.includes('\n'),
      ),
    )
  }
  test('without a hash, where one is demanded', () => {
    const strict = { ...policy, requireSha256: true }
    assert.throws(() => readFirmwareCall({ fwPackageUri: url }, strict), /sha256 is missing/)
    assert.equal(readFirmwareCall({ fwPackageUri: url, sha256: hex }, strict).sha256, hex)
  })
})

describe('hosts', () => {
  const rows: readonly (readonly [string, string, boolean])[] = [
    ['*', 'https://anything.example/', true],
    ['*.example.com', 'https://a.b.example.com/', true],
    ['*.example.com', 'https://example.com/', false],
    ['*.example.com', 'https://notexample.com/', false],
    ['files.example.com', 'https://FILES.example.com:8443/', true],
    ['files.example.com:8443', 'https://files.example.com:8443/', true],
    ['files.example.com:8443', 'https://files.example.com/', false],
    ['files.example.com:443', 'https://files.example.com/', true],
  ]
  for (const [allowed, fwPackageUri, taken] of rows) {
    test(`${allowed}: ${fwPackageUri} ${taken ? 'is' : 'is not'} taken`, () => {
      const read = () => readFirmwareCall({ fwPackageUri }, { ...policy, allowedHosts: [allowed] })
      if (taken) assert.equal(read().url, fwPackageUri)
      else assert.throws(read, CallRefused)
    })
  }
  test('none is allowed unless named', () => {
    assert.throws(() => readFirmwareCall({ fwPackageUri: url }, { ...policy, allowedHosts: [] }), /is not allowed/)
  })
})

test('whatever is sent, the answer is an update or a refusal', () => {
  const texts = fc.stringMatching(/^[{}'":, a-zA-Z0-9\\\n/]*$/)
  fc.assert(
    fc.property(fc.oneof(fc.jsonValue(), texts, fc.string()), payload => {
      try {
        readFirmwareCall(payload, policy)
      } catch (error) {
        assert.ok(error instanceof CallRefused, String(error))
      }
    }),
  )
})

test('what is not JSON reaches the method as a text, and does not end the connection', () => {
  const sent = Buffer.from(`{ fwPackageUri : '${url}' }`)
  const call = methodCallOf('$iothub/methods/POST/firmwareUpdate/?$rid=1', sent)
  assert.equal(call?.payload, sent.toString())
})
