import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ledsIn } from '../src/refusal.ts'

const whole = JSON.stringify({ schemaVersion: '1.1', piAdu: { leds: { green: 17, red: 27 }, hub: {} } }, null, 2)

test('the lights of a configuration are found past its mistakes', () => {
  const lights = { green: 17, red: 27, activeLow: false }
  assert.deepEqual(ledsIn(whole), lights)
  assert.deepEqual(ledsIn(whole.slice(0, -10)), lights)
  assert.deepEqual(ledsIn(whole.replace('"1.1",', '"1.1"')), lights)
})

test('no light is guessed', () => {
  for (const text of ['', '{', 'leds', whole.slice(0, whole.indexOf('red')), whole.replace('17', '99')]) {
    assert.equal(ledsIn(text), undefined, text)
  }
})
