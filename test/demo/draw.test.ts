import assert from 'node:assert/strict'
import { test } from 'node:test'
import { stripVTControlCharacters } from 'node:util'
import { draw, painter } from '../bench/demo/draw.ts'
import { light } from '../bench/demo/light.ts'
import { svgOf } from '../bench/demo/picture.ts'
import { Scene } from '../bench/demo/scene.ts'

const MINUTE = 60_000

function story(): { scene: Scene; told: string[]; moments: (() => void)[] } {
  const told: string[] = []
  const scene = new Scene('A demo with a title that is rather long', (_at, subject, text) =>
    told.push(`${subject}: ${text}`),
  )
  const { begun } = scene
  scene.expect(['order', 'install', 'restart', 'trial', 'report'])
  const moments = [
    () => {
      scene.power = true
      scene.booted = scene.primary = 'a'
      scene.versions.a = '1.0.0'
      scene.mood = { name: 'idle', since: begun }
    },
    () => scene.enter('order', begun + 1000),
    () => {
      scene.enter('install', begun + 1100)
      scene.transfer = { into: 'b', size: 2e9, begun: begun + 1100, fetched: 3 }
    },
    () => {
      scene.leave('failed', 'cut off', begun + 2000)
      scene.enter('cut', begun + 2000)
      scene.power = false
    },
    () => {
      Object.assign(scene.twin, {
        connected: true,
        state: 255,
        resultCode: 0,
        extended: '3210000D',
        installed: 'workbench 1',
      })
      scene.twin.details = `${'a very long sentence of the device '.repeat(12)}${'x'.repeat(300)}`
    },
  ]
  return { scene, told, moments }
}

for (const columns of [61, 80, 120]) {
  test(`no line is wider than ${columns} columns, and the picture does not jump`, () => {
    const { scene, moments } = story()
    const heights = new Set<number>()
    for (const moment of moments) {
      moment()
      const frame = draw(scene, { columns, rows: 24, paint: painter(true), now: scene.begun + 10 * MINUTE })
      const lines = stripVTControlCharacters(frame).split('\n')
      for (const line of lines) assert.ok([...line].length < columns, line)
      // What was not planned takes a line of its own.
      heights.add(lines.length - scene.phases.length)
    }
    assert.equal(heights.size, 1)
  })
}

test('without colours there is no control code', () => {
  const { scene, moments } = story()
  for (const moment of moments) moment()
  const frame = draw(scene, { columns: 80, rows: 24, paint: painter(false), now: scene.begun })
  assert.equal(stripVTControlCharacters(frame), frame)
})

test('what was not planned is told where it happened, and the plan goes on after it', () => {
  const { scene, told, moments } = story()
  for (const moment of moments) moment()
  scene.enter('install', scene.begun + 3000)
  assert.deepEqual(
    scene.phases.map(({ key, state }) => `${key} ${state}`),
    ['order done', 'install failed', 'cut done', 'install now', 'restart to come', 'trial to come', 'report to come'],
  )
  assert.ok(told.includes('failed: download, check, write into slot b (0.9 s): cut off'))
})

test('lights blink as the real ones do', () => {
  assert.deepEqual(light('idle', 12_345), { green: true, red: false })
  assert.deepEqual(light('installing', 100), { green: true, red: false })
  assert.deepEqual(light('installing', 300), { green: false, red: false })
  assert.deepEqual(light('trial', 600), { green: true, red: true })
  assert.deepEqual(light('connecting', 150), { green: false, red: false })
})

test('a frame as SVG: every word in its place and its colour', () => {
  const svg = svgOf(`  ${painter(true)('greenBright', '✔')}  a < b   ${painter(true)('dim', '1.0 s')}`, 'A title')
  assert.match(svg, /<title>A title<\/title>/)
  assert.match(svg, /x="34\.8"[^>]*fill="#56d364"[^>]*>✔</)
  assert.match(svg, /x="60\.0"[^>]*>a &lt; b</)
  assert.match(svg, /fill="#6e7681"[^>]*>1\.0 s</)
})
