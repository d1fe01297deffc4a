import assert from 'node:assert/strict'
import test from 'node:test'
import { objectionTo, PinCheck } from '../../src/page/guard.ts'

const NAMES = new Set(['localhost', 'till-17', 'till-17.local'])

const HOSTS: readonly (readonly [string | undefined, boolean])[] = [
  ['192.168.7.1:8480', true],
  ['192.168.7.1', true],
  ['[fe80::1]:8480', true],
  ['[::1]', true],
  ['localhost:8480', true],
  ['Till-17.LOCAL:8480', true],
  ['till-17.local.:8480', true],
  [undefined, false],
  ['', false],
  ['evil.example:8480', false],
  ['192.168.7.1.evil.example', false],
  ['till-17.evil.example', false],
  ['127.0.0.1.nip.io:8480', false],
  ['till-17:8480:1', false],
  ['constructor', false],
]

for (const [host, isFine] of HOSTS) {
  test(`the Host ${host} is ${isFine ? 'taken' : 'refused: it may be a name of a stranger'}`, () => {
    const headers = host === undefined ? {} : { host }
    const found = objectionTo({ method: 'GET', url: '/', headers }, NAMES)
    assert.equal(found?.status, isFine ? undefined : 421)
  })
}

const host = '192.168.7.1:8480'
const ORIGINS: readonly (readonly [Record<string, string>, boolean])[] = [
  [{ origin: `http://${host}` }, true],
  [{ origin: `http://${host}`, 'sec-fetch-site': 'same-origin' }, true],
  [{}, false],
  [{ origin: 'null' }, false],
  [{ origin: 'http://evil.example' }, false],
  [{ origin: 'http://192.168.7.1:9999' }, false],
  [{ origin: `https://${host}` }, false],
  [{ origin: `http://${host}`, 'sec-fetch-site': 'cross-site' }, false],
  [{ origin: `http://${host}`, 'sec-fetch-site': 'same-site' }, false],
]

for (const [headers, isFine] of ORIGINS) {
  test(`an order with ${JSON.stringify(headers)} is ${isFine ? 'taken' : 'refused'}`, () => {
    const found = objectionTo({ method: 'POST', url: '/consent', headers: { host, ...headers } }, NAMES)
    assert.equal(found?.status, isFine ? undefined : 403)
  })
}

test('a stranger may link to the page, and load nothing else of it', () => {
  const headers = { host, 'sec-fetch-site': 'cross-site' }
  assert.equal(objectionTo({ method: 'GET', url: '/', headers }, NAMES), undefined)
  for (const url of ['/events', '/state', '/script.js'])
    assert.equal(objectionTo({ method: 'GET', url, headers }, NAMES)?.status, 403, url)
})

test('the fifth wrong PIN locks everybody out, and each further one for longer, up to an hour', () => {
  let now = 1000
  const pins = new PinCheck('open-5esame', () => now)
  for (let i = 0; i < 4; i += 1) assert.deepEqual(pins.check(`guess ${i}`), { is: 'wrong' })
  const waits: number[] = []
  for (let i = 0; i < 9; i += 1) {
    const verdict = pins.check('guess')
    assert.ok(verdict.is === 'locked')
    waits.push(verdict.seconds)
    // The right one does not help, and nothing tells that it is right.
    assert.equal(pins.check('open-5esame').is, 'locked')
    now += verdict.seconds
  }
  assert.deepEqual(waits, [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600])
  assert.deepEqual(pins.check('open-5esame'), { is: 'right' })
  assert.deepEqual(pins.check('guess'), { is: 'wrong' }, 'the right one forgets the wrong ones')
})

test('in a year nobody can make more than 12,000 guesses, and a mistake of yesterday does not count', () => {
  let now = 0
  let guesses = 0
  const pins = new PinCheck('open-5esame', () => now)
  for (const end = 365 * 86_400; now < end; ) {
    const verdict = pins.check('guess')
    if (verdict.is === 'locked') now += verdict.seconds
    guesses += 1
  }
  assert.ok(guesses < 12_000, `${guesses}`)
  now += 86_401
  assert.deepEqual(pins.check('typo'), { is: 'wrong' })
})

test('an empty PIN, a longer one and one of other letters are wrong', () => {
  for (const given of ['', 'open-5esame ', 'open-5esamé', 'OPEN-5ESAME', 'open-5esam', '\0'])
    assert.deepEqual(new PinCheck('open-5esame', () => 0).check(given), { is: 'wrong' })
})
