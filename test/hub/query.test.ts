import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { HubError } from '../bench/hub/errors.ts'
import type { JsonObject } from '../bench/hub/json.ts'
import { runQuery } from '../bench/hub/query.ts'
import { parseQuery } from '../bench/hub/query-syntax.ts'

const device = (deviceId: string, floor: number, reported: JsonObject, tags: JsonObject = {}): JsonObject => ({
  deviceId,
  status: 'enabled',
  tags: { floor, ...tags },
  properties: { reported },
})
const FLEET = [
  device('a', 1, { version: '8.0.1', ok: true, 'up-time': 5 }),
  device('b', 1, { version: '8x0y1', ok: false }),
  device('c', 2, { version: '8.0.1', state: { code: 0 } }, { site: "O'Hare" }),
  device('d', 3, {}),
]

const ids = (where: string) =>
  runQuery(parseQuery(`SELECT * FROM devices WHERE ${where}`), FLEET)
    .map(({ deviceId }) => deviceId)
    .join('')

const conditions: [where: string, found: string][] = [
  ["deviceId = 'a'", 'a'],
  ["devices.deviceId = 'a'", 'a'],
  ['deviceId = "b"', 'b'],
  ["deviceId != 'a'", 'bcd'],
  ["deviceId <> 'a'", 'bcd'],
  ['tags.floor > 1', 'cd'],
  ['tags.floor >= 2 and tags.floor <= 2', 'c'],
  ['2 < tags.floor', 'd'],
  ["deviceId < 'c'", 'ab'],
  ["tags.floor < 'x'", ''],
  ["properties.reported.version = '8.0.1'", 'ac'],
  ["properties.reported.version != '8.0.1'", 'b'],
  ["NOT properties.reported.version = '8.0.1'", 'b'],
  ['is_defined(properties.reported.version)', 'abc'],
  ['NOT IS_DEFINED(properties.reported.version)', 'd'],
  ["deviceId IN ['a', 'd', 'x']", 'ad'],
  ["deviceId NIN ['a', 'd']", 'bc'],
  ['properties.reported.state.code IN [0]', 'c'],
  ['properties.reported.ok', 'a'],
  ['properties.reported.ok = false', 'b'],
  ['properties.reported.up-time = 5', 'a'],
  ['properties.reported.ok = null', ''],
  ["tags.floor = 1 AND deviceId = 'a' OR tags.floor = 3", 'ad'],
  ["tags.floor = 1 AND (deviceId = 'a' OR tags.floor = 3)", 'a'],
  ['properties.reported.none = 1 OR tags.floor = 3', 'd'],
  ['NOT (properties.reported.none = 1 AND tags.floor = 3)', 'abc'],
  ["STARTSWITH(properties.reported.version, '8.')", 'ac'],
  ["ENDSWITH(deviceId, 'd') OR contains(properties.reported.version, 'x0')", 'bd'],
  ["tags.site = 'O''Hare'", 'c'],
  ["tags.site = 'O\\'Hare'", 'c'],
  ['tags.floor = 1e0', 'ab'],
  ['true', 'abcd'],
  ['tags.constructor = 1', ''],
]
for (const [where, found] of conditions) test(`WHERE ${where}`, () => assert.equal(ids(where), found))

const projections: [query: string, rows: JsonObject[]][] = [
  ['select count() as n from devices', [{ n: 4 }]],
  ["SELECT COUNT() AS n FROM devices WHERE deviceId = 'x'", [{ n: 0 }]],
  [
    'SELECT properties.reported.version AS v, COUNT() AS n FROM devices GROUP BY properties.reported.version',
    [{ v: '8.0.1', n: 2 }, { v: '8x0y1', n: 1 }, { n: 1 }],
  ],
  [
    'SELECT tags.floor, COUNT() AS n FROM devices WHERE tags.floor < 3 GROUP BY tags.floor',
    [
      { floor: 1, n: 2 },
      { floor: 2, n: 1 },
    ],
  ],
  ['SELECT deviceId AS id, tags.site FROM devices WHERE tags.floor > 1', [{ id: 'c', site: "O'Hare" }, { id: 'd' }]],
]
for (const [query, rows] of projections) {
  test(query, () => assert.deepEqual(runQuery(parseQuery(query), FLEET), rows))
}

const refused: [query: string, text: RegExp][] = [
  ['', /unexpected end at position 1, expected SELECT/],
  ['SELECT', /unexpected end at position 7/],
  ['SELECT * FROM devices WHERE', /unexpected end at position 28/],
  ['SELECT * FROM devices WHERE a ==', /"=" at position 32/],
  ["SELECT * FROM devices WHERE a = 'x", /"'" at position 33/],
  ['SELECT * FROM devices WHERE a = 1 ORDER BY a', /"ORDER" at position 35/],
  ['SELECT * FROM devices.twins', /"twins" at position 23/],
  ['SELECT AVG(a) FROM devices', /"\(" at position 11, expected FROM/],
  ['SELECT * FROM devices WHERE a IN []', /"\]" at position 35/],
  ['SELECT * FROM devices WHERE a + 1 = 2', /"\+" at position 31/],
  ['SELECT * FROM devices GROUP BY a', /GROUP BY needs columns/],
  ['SELECT a, COUNT() AS n FROM devices GROUP BY b', /a is neither/],
  [`SELECT * FROM devices WHERE ${'('.repeat(1000)}`, /nested too deeply/],
  [`SELECT * FROM devices WHERE ${'NOT '.repeat(1000)} a`, /nested too deeply/],
  [`SELECT * FROM devices WHERE ${'a'.repeat(9000)}`, /longer than/],
]
for (const [query, text] of refused) {
  test(`refused: ${query.slice(0, 60)}`, () => {
    const work = () => runQuery(parseQuery(query), FLEET)
    assert.throws(work, error => error instanceof HubError && error.status === 400 && text.test(error.message))
  })
}

test('any text is either a query or refused', () => {
  const words = [
    'SELECT',
    '*',
    'FROM',
    'devices',
    'WHERE',
    'a',
    '=',
    '1',
    "'x'",
    '(',
    ')',
    'AND',
    'NOT',
    'IN',
    '[',
    ']',
    '.',
    ',',
    'COUNT',
    'AS',
    'GROUP',
    'BY',
    '~',
  ]
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...words)), tail => {
      try {
        runQuery(parseQuery(`SELECT * FROM devices ${tail.join(' ')}`), FLEET)
      } catch (error) {
        assert.ok(error instanceof HubError, String(error))
      }
    }),
  )
})
