import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { HubError } from '../bench/hub/errors.ts'
import type { JsonObject } from '../bench/hub/json.ts'
import {
  deviceView,
  mergePatch,
  newTwin,
  patchByService,
  patchReported,
  replaceByService,
  serviceView,
} from '../bench/hub/twin.ts'

const T0 = '2030-01-01T00:00:00Z'
const T1 = '2030-01-01T00:00:01Z'

const refused = (work: () => unknown, text: RegExp) =>
  assert.throws(work, error => error instanceof HubError && error.status === 400 && text.test(error.message))

/** `depth` objects inside the section, the last one holding a value. */
const nested = (depth: number): JsonObject => (depth === 0 ? { value: 1 } : { level: nested(depth - 1) })

const merges: [from: JsonObject, patch: JsonObject, to: JsonObject, why: string][] = [
  [{ a: 1 }, { b: 2 }, { a: 1, b: 2 }, 'adds'],
  [{ a: 1 }, { a: null }, {}, 'null removes'],
  [{}, { a: null }, {}, 'null on nothing is nothing'],
  [{ a: { b: 1, c: 2 } }, { a: { b: null, d: 3 } }, { a: { c: 2, d: 3 } }, 'objects merge'],
  [{ a: [1, 2, 3] }, { a: [9] }, { a: [9] }, 'arrays replace'],
  [{ a: { b: 1 } }, { a: 'x' }, { a: 'x' }, 'a value replaces an object'],
  [{ a: 'x' }, { a: { b: 1, c: null } }, { a: { b: 1 } }, 'an object replaces a value, without its nulls'],
  [{ a: 1 }, {}, { a: 1 }, 'an empty patch changes nothing'],
]
for (const [from, patch, to, why] of merges) {
  test(`merge patch: ${why}`, () => assert.deepEqual(mergePatch(from, patch), to))
}

test('merge patch keeps __proto__ an ordinary key', () => {
  const merged = mergePatch({}, JSON.parse('{"__proto__":{"polluted":true}}')) as JsonObject
  assert.equal(Object.hasOwn(merged, '__proto__'), true)
  assert.equal(({} as Record<string, unknown>).polluted, undefined)
})

test('merge patch is idempotent and leaves no null behind', () => {
  const document = fc.letrec(tie => ({
    node: fc.dictionary(
      fc.constantFrom('a', 'b', 'c'),
      fc.oneof({ maxDepth: 3 }, fc.constantFrom(1, 'x', null), tie('node')),
    ),
  })).node as fc.Arbitrary<JsonObject>
  fc.assert(
    fc.property(document, document, (from, patch) => {
      const once = mergePatch(mergePatch({}, from), patch)
      assert.deepEqual(mergePatch(once, patch), once)
      assert.equal(JSON.stringify(once).includes('null'), false)
    }),
  )
})

test('a report grows version of reported and of the twin, and stamps what it touched', () => {
  const before = newTwin(T0)
  const after = patchReported(patchReported(before, { a: { b: 1 }, c: 2 }, T0), { a: { b: 2 } }, T1)
  assert.equal(after.reported.version, before.reported.version + 2)
  assert.equal(after.version, before.version + 2)
  assert.equal(after.serviceVersion, before.serviceVersion)
  const stamp = (time: string) => ({ $lastUpdated: time })
  assert.deepEqual(after.reported.metadata, { ...stamp(T1), a: { ...stamp(T1), b: stamp(T1) }, c: stamp(T0) })
})

test('desired: the device is told the patch with its nulls and the new version, and sees no metadata', () => {
  const first = patchByService(newTwin(T0), { desired: { keep: 1, drop: 2 } }, T0).twin
  const { twin, devicePatch } = patchByService(first, { desired: { drop: null, $version: 99, $metadata: {} } }, T1)
  assert.deepEqual(devicePatch, { drop: null, $version: 3 })
  assert.deepEqual(deviceView(twin), { desired: { keep: 1, $version: 3 }, reported: { $version: 1 } })
  assert.deepEqual(serviceView(twin).desired, {
    keep: 1,
    $metadata: { $lastUpdated: T1, $lastUpdatedVersion: 3, keep: { $lastUpdated: T0, $lastUpdatedVersion: 2 } },
    $version: 3,
  })
})

test('tags change the etag but are no business of the device', () => {
  const before = newTwin(T0)
  const { twin, devicePatch } = patchByService(before, { tags: { room: 'cellar' } }, T1)
  assert.equal(devicePatch, undefined)
  assert.equal(twin.desired.version, before.desired.version)
  assert.equal(twin.serviceVersion, before.serviceVersion + 1)
})

test('replacing desired tells the device of the lost keys', () => {
  const first = patchByService(newTwin(T0), { desired: { a: 1, b: { x: 1, y: 2 } } }, T0).twin
  const { twin, devicePatch } = replaceByService(first, { desired: { b: { y: 3 } } }, T1)
  assert.deepEqual(twin.desired.value, { b: { y: 3 } })
  assert.deepEqual(devicePatch, { a: null, b: { x: null, y: 3 }, $version: 3 })
})

const good: [JsonObject, string][] = [
  [nested(10), 'depth 10'],
  [{ n: 2 ** 52, m: -(2 ** 52), f: 1e-7 }, 'integers of 2^52'],
  [{ s: 'x'.repeat(4096) }, 'a string of 4 KiB'],
  [{ ['k'.repeat(1024)]: 1 }, 'a key of 1 KiB'],
  [{ list: [1, 'a', { b: [true] }] }, 'arrays'],
]
for (const [patch, what] of good) test(`limits allow ${what}`, () => void patchReported(newTwin(T0), patch, T0))

const bad: [JsonObject, RegExp][] = [
  [nested(11), /deeper than 10/],
  [{ n: 2 ** 52 + 1 }, /2\^52/],
  [{ s: 'é'.repeat(2049) }, /4096 bytes/],
  [{ ['k'.repeat(1025)]: 1 }, /1024 bytes/],
  [{ 'a.b': 1 }, /control character/],
  [{ $version: 4 }, /control character/],
  [{ 'a b': 1 }, /control character/],
  [{ 'a\u0007': 1 }, /control character/],
  [{ a: { '': 1 } }, /empty key/],
  [{ list: [1, null] }, /null in the array/],
  [Object.fromEntries(Array.from({ length: 9 }, (_, i) => [`k${i}`, 'x'.repeat(4000)])), /above 32768/],
]
for (const [patch, text] of bad) {
  test(`limits refuse ${JSON.stringify(patch).slice(0, 40)}`, () => {
    refused(() => patchReported(newTwin(T0), patch, T0), text)
  })
}

test('the size is that of the result, and tags have 8 KiB', () => {
  const part = (key: string) => ({
    [key]: Object.fromEntries(Array.from({ length: 5 }, (_, i) => [`k${i}`, 'x'.repeat(4000)])),
  })
  const half = patchReported(newTwin(T0), part('a'), T0)
  refused(() => patchReported(half, part('b'), T0), /above 32768/)
  patchReported(half, { ...part('b'), a: null }, T0)
  refused(
    () => patchByService(newTwin(T0), { tags: { a: 'x'.repeat(4000), b: 'x'.repeat(4000), c: 'x'.repeat(200) } }, T0),
    /8192/,
  )
})
