import assert from 'node:assert/strict'
import { createPublicKey } from 'node:crypto'
import test from 'node:test'
import { compactVerify } from 'jose'
import { JOURNAL_FORMAT } from '../../src/domain/attempt.ts'
import { compareVersions } from '../../src/domain/versions.ts'
import { Checks } from '../../src/trust/checks.ts'
import { compare } from '../../src/trust/compatibility.ts'
import { JsonError, parseJson, readJson } from '../../src/trust/json.ts'
import { verifySignature } from '../../src/trust/jws.ts'
import { rsaKey } from '../../src/trust/keys.ts'
import { PRODUCTION_ROOT_KEYS } from '../../src/trust/root-keys.ts'
import { lowestVersion } from '../../src/workflow/downgrade.ts'
import { publicNumbers } from '../bench/authoring/keys.ts'
import { cook } from '../bench/authoring/recipe.ts'
import { newKeys } from './flaws/flaw.ts'

const keys = newKeys()

test('both production root keys are whole: 3072 bits, exponent 65537', () => {
  assert.deepEqual(
    PRODUCTION_ROOT_KEYS.map(({ kid, n, e }) => [kid, n.length, rsaKey(n, e)?.asymmetricKeyDetails?.modulusLength]),
    [
      ['ADU.200702.R', 512, 3072],
      ['ADU.200703.R', 512, 3072],
    ],
  )
})

test('what we take for a good chain, jose takes for one too', async () => {
  const jws = String((cook(keys).service as { updateManifestSignature: string }).updateManifestSignature)
  const [root] = keys.roots
  const rootKeys = [{ kid: root.kid, ...publicNumbers(root.privateKey) }]
  const ours = verifySignature(jws, { rootKeys, disabledRootKeys: [], disabledSigningKeys: [] }, new Checks())
  const outer = await compactVerify(jws, createPublicKey(keys.signing.privateKey))
  const inner = await compactVerify(String(outer.protectedHeader.sjwk), createPublicKey(root.privateKey))
  assert.equal(Buffer.from(outer.payload).toString('base64url'), ours.payload)
  assert.equal(JSON.parse(Buffer.from(inner.payload).toString()).kid, ours.signingKey)
})

test('JSON is read as JSON.parse reads it, where it is read at all', () => {
  for (const text of [
    '{"a":[1,-2.5e3,"x\\u0041\\"",true,null,{}],"":[]}',
    ' [ ] ',
    '"\\\\"',
    '0',
    '{"constructor":{"x":1}}',
  ]) {
    assert.deepEqual(readJson(text), JSON.parse(text))
  }
  for (const text of [
    '',
    '{',
    '{"a":1,}',
    '[1 2]',
    'NaN',
    '{"a":1,"a":1}',
    '{"a":1,"\\u0061":2}',
    '{"__proto__":1}',
    '1e999',
  ]) {
    assert.throws(() => readJson(text), JsonError, text)
  }
  assert.doesNotThrow(() => readJson(`${'['.repeat(32)}${']'.repeat(32)}`))
  assert.throws(() => readJson(`${'['.repeat(33)}${']'.repeat(33)}`), JsonError)
  assert.throws(() => readJson(`${'['.repeat(100_000)}${']'.repeat(100_000)}`), JsonError)
})

test('members keep the order and the text of the document', () => {
  const node = parseJson('{ "b" : { "10" : "x y" ,\n "9":1.0, "a\\/b":[ 1 , 2 ] } }')
  const inner = node.value instanceof Map ? node.value.get('b') : undefined
  assert.deepEqual(inner?.value instanceof Map ? [...inner.value.keys()] : [], ['10', '9', 'a/b'])
  assert.equal(inner?.compact(), '{"10":"x y","9":1.0,"a\\/b":[1,2]}')
})

test('compatibility: names without case and without device, values without case', () => {
  const device = { manufacturer: 'Contoso', model: 'Toaster', region: 'eu' }
  const cases = [
    [[{ manufacturer: 'contoso', model: 'toaster' }], 'match'],
    [[{ DeviceManufacturer: 'CONTOSO', deviceModel: 'Toaster' }], 'match'],
    [[{ manufacturer: 'contoso', model: 'oven' }], 'differ'],
    [[{ model: 'oven' }, { model: 'toaster' }], 'match'],
    [[{ model: 'toaster', colour: 'red' }], 'match'],
    [[{ colour: 'red' }], 'unknown'],
    [[{ colour: 'red' }, { region: 'us' }], 'differ'],
    [[], 'unknown'],
  ] as const
  for (const [entries, wanted] of cases) assert.equal(compare(entries, device), wanted, JSON.stringify(entries))
})

test('versions compare by number, a missing one is 0', () => {
  const sorted = ['1.2', '1.2.0.1', '1.10', '2.0', '10.0']
  for (const [at, left] of sorted.entries()) {
    for (const [index, right] of sorted.entries()) assert.equal(compareVersions(left, right), Math.sign(at - index))
  }
  assert.equal(compareVersions('1.2', '1.2.0.0'), 0)
})

test('the lowest version: the minimum, and what is installed when downgrades are not allowed', () => {
  const workflow = { action: 3, id: 'w' }
  const before = { updateId: { provider: 'c', name: 't', version: '2.5' }, installedCriteria: 'system two' }
  const attempt = {
    ...{ format: JOURNAL_FORMAT, steps: [] },
    ...{ workflow, fingerprint: '', installs: 0, reboots: 0, milestones: [], reported: false, before },
    ...{ origin: 'deviceUpdate', times: { begun: '2026-01-01T00:00:00.000Z' } },
  }
  assert.equal(lowestVersion({ allowDowngrade: true }, attempt, 'system two'), undefined)
  assert.equal(lowestVersion({ allowDowngrade: true, minimumVersion: '1.5' }, attempt, '9.0'), '1.5')
  assert.equal(lowestVersion({ allowDowngrade: false }, attempt, 'system two'), '2.5')
  assert.equal(lowestVersion({ allowDowngrade: false }, attempt, '3.0'), '3.0', 'the system was changed since')
  assert.equal(lowestVersion({ allowDowngrade: false, minimumVersion: '4.0' }, attempt, '3.0'), '4.0')
  assert.equal(lowestVersion({ allowDowngrade: false, minimumVersion: '1.0' }, undefined, 'abc'), '1.0')
})
