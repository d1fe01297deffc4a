import assert from 'node:assert/strict'
import { test } from 'node:test'
import { lightsIn } from '../src/cli/refusal.ts'

const whole = JSON.stringify({ schemaVersion: '1.1', piAdu: { leds: { green: 17, red: 27 }, hub: {} } }, null, 2)

test('the lights of a configuration are found past its mistakes', () => {
  const lights = [
    { gpio: 17, role: 'status', activeLow: false },
    { gpio: 27, role: 'fault', activeLow: false },
  ]
  assert.deepEqual(lightsIn(whole), lights)
  assert.deepEqual(lightsIn(whole.slice(0, -10)), lights)
  assert.deepEqual(lightsIn(whole.replace('"1.1",', '"1.1"')), lights)
})

test('those in a list too, also where a name has a brace in it', () => {
  const leds = {
    lights: [
      { gpio: 17, activeLow: true },
      { led: 'a}"{', brightness: 20, whenStopped: 'heartbeat' },
    ],
  }
  const text = `{ "piAdu": { "leds": ${JSON.stringify(leds)}, `
  assert.deepEqual(lightsIn(text), [
    { gpio: 17, role: 'status', activeLow: true },
    { led: 'a}"{', role: 'status', brightness: 20, whenStopped: 'heartbeat' },
  ])
})

test('no light is guessed', () => {
  for (const text of ['', '{', 'leds', whole.slice(0, whole.indexOf('red')), whole.replace('17', '99')]) {
    assert.deepEqual(lightsIn(text), [], text)
  }
})
