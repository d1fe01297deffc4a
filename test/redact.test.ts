import assert from 'node:assert/strict'
import test from 'node:test'
import { redact, redactAll } from '../src/domain/redact.ts'

const S = 'c2VjcmV0/c2+jcmV0'
const U = encodeURIComponent(S)

/** The secret is gone, and this is left. */
const HIDDEN: readonly (readonly [string, string])[] = [
  [
    `https://b.s3.amazonaws.com/x?X-Amz-Signature=${U}&X-Amz-Date=1`,
    'https://b.s3.amazonaws.com/x?X-Amz-Signature=…&X-Amz-Date=1',
  ],
  [
    `https://h/x?X-Amz-Credential=${U}&X-Amz-Security-Token=${U}`,
    'https://h/x?X-Amz-Credential=…&X-Amz-Security-Token=…',
  ],
  [`https://h/x?x-goog-signature=${U}`, 'https://h/x?x-goog-signature=…'],
  [
    `https://d.cloudfront.net/x?Expires=1&Signature=${U}&Key-Pair-Id=K`,
    'https://d.cloudfront.net/x?Expires=1&Signature=…&Key-Pair-Id=K',
  ],
  [`https://f.azurewebsites.net/api/x?code=${U}&v=1`, 'https://f.azurewebsites.net/api/x?code=…&v=1'],
  [`https://h/x?a=1&api_key=${U}`, 'https://h/x?a=1&api_key=…'],
  [`https://h/x?apikey=${U}&api-key=${U}`, 'https://h/x?apikey=…&api-key=…'],
  [`https://h/x?access_token=${U}#f`, 'https://h/x?access_token=…'],
  [`https://h/x?subscription-key=${U}`, 'https://h/x?subscription-key=…'],
  [`https://h/x?key=${U}`, 'https://h/x?key=…'],
  [
    `https://a.blob.core.windows.net/c/b?sv=2024&sig=${U}&sp=r`,
    'https://a.blob.core.windows.net/c/b?sv=2024&sig=…&sp=r',
  ],
  [`X-Api-Key: ${S}`, 'X-Api-Key: …'],
  [`x-functions-key: ${S}`, 'x-functions-key: …'],
  [`Authorization: Basic ${S}`, 'Authorization: Basic …'],
  [`authorization: bearer ${S}`, 'authorization: bearer …'],
  [`Proxy-Authorization: Basic ${S}=`, 'Proxy-Authorization: Basic …'],
  [JSON.stringify({ Authorization: `Basic ${S}` }), '{"Authorization":"Basic …"}'],
  [JSON.stringify({ api_key: S, x: 1 }), '{"api_key":"…","x":1}'],
  [JSON.stringify({ why: JSON.stringify({ client_secret: S }) }), '{"why":"{\\"client_secret\\":\\"…\\"}"}'],
  [`refused: Basic ${S}`, 'refused: Basic …'],
  [`http://user:${U}@proxy:8080/`, 'http://…@proxy:8080/'],
  ['http://user:p@ss@w0rd@proxy:8080/x', 'http://…@proxy:8080/x'],
  ['https://ghp_0123456789@github.example/x', 'https://…@github.example/x'],
  ['http://:only@proxy/', 'http://…@proxy/'],
  [`HostName=h;DeviceId=d;SharedAccessKey=${S};x=1`, 'HostName=h;DeviceId=d;SharedAccessKey=…;x=1'],
  [`AccountKey=${S};EndpointSuffix=x`, 'AccountKey=…;EndpointSuffix=x'],
  [`password=${S}`, 'password=…'],
  [`wifi_password: "${S}"`, 'wifi_password: "…"'],
]

for (const [text, left] of HIDDEN) {
  test(`hidden: ${left}`, () => {
    assert.equal(redact(text), left)
    assert.deepEqual(redactAll({ a: [text] }), { a: [left] })
  })
}

const KEPT = [
  '{"event":"action.failed","code":"32100050","key":"a"}',
  'swupdate ended with exit code=1',
  'signature: does not verify with the signing key',
  'updateManifestSignature: does not verify with the signing key (A0200004)',
  'the root key package has no signature of root key ADU.200702.R',
  'HostName=h;SharedAccessKeyName=policy',
  'http://contoso.example:8080/a.swu?version=2&x=b@c',
  'https://contoso.example/a@b.swu',
  'ssh owner@10.0.0.1',
  'Basic questions, and the Bearer is fine',
  'https://h/x?X-Amz-Date=1&Expires=2',
]
for (const text of KEPT) test(`kept: ${text}`, () => assert.equal(redact(text), text))

test('a long text is read once', () => {
  for (const piece of ['//a@', 'basic ', 'x-', '?code=', 'token', 'authorization: ']) {
    const begun = performance.now()
    redact(piece.repeat(200_000 / piece.length))
    assert.ok(performance.now() - begun < 1000, `${piece}: ${Math.round(performance.now() - begun)} ms`)
  }
})
