import assert from 'node:assert/strict'
import { test } from 'node:test'
import { stripVTControlCharacters } from 'node:util'
import { draw, painter } from '../bench/demo/draw.ts'
import { svgOf } from '../bench/demo/picture.ts'
import { Scene } from '../bench/demo/scene.ts'
import { plainShow } from '../bench/demo/show.ts'
import { onResumed, settle } from '../bench/demo/watch.ts'
import { EVIL, OBEYED } from '../domain/evil.ts'

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
      scene.mood = { name: 'online', since: begun }
    },
    () => scene.enter('order', begun + 1000),
    () => {
      scene.enter('install', begun + 1100)
      scene.transfer = { into: 'b', size: 2e9, begun: begun + 1100, fetched: 3, resumed: 0 }
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

test('a download that goes on says so, and counts only what was fetched', () => {
  const { scene, told, moments } = story()
  for (const moment of moments.slice(0, 3)) moment()
  scene.transfer = { into: 'b', size: 40 << 20, begun: scene.begun, fetched: 0, resumed: 0 }
  onResumed(scene, 18 << 20, scene.begun + 1200)
  scene.transfer.fetched = 2 << 20
  scene.twin.connected = true
  const frame = draw(scene, { columns: 120, rows: 24, paint: painter(false), now: scene.begun + 2000 })
  assert.match(frame, /write into slot b, 18\.0 MiB were there/)
  // 20 of 40 MiB, at the rate of the two that came over the wire.
  assert.match(frame, / 50 % {3}20\.0 of 40\.0 MiB {4}1\.0 MiB\/s/)
  assert.doesNotMatch(frame, / MB/)
  assert.ok(told.includes('install: resumes: 18.0 of 40.0 MiB are in slot b already'))
})

test('the last picture is what the verdict found, whatever was seen on the way', () => {
  const { scene, moments } = story()
  for (const moment of moments) moment()
  scene.enter('report', scene.begun + 4000)
  // Seen late, or not at all.
  Object.assign(scene, { power: true, transfer: undefined, booted: 'a', primary: 'b', trial: 'pending' })
  scene.twin.connected = false
  const agent = { state: 0, lastInstallResult: { resultCode: 700, extendedResultCodes: '00000000' } }
  settle(
    scene,
    {
      ...{ alive: true, booted: 'b', version: '2.0.0', onDisk: '2.0.0', versions: { a: '1.0.0', b: '2.0.0' } },
      ...{ boot: { primary: 'b', trial: 'none', tries: 0 }, fetched: 1, written: { where: 'slot b', bytes: 1 } },
    },
    { deviceUpdate: { agent } },
  )
  const frame = draw(scene, { columns: 80, rows: 24, paint: painter(false), now: Date.now() })
  const [, , a = '', b = ''] =
    /│ (system 1\.0\.0) +│ {2}│ (system 2\.0\.0) +│\n *│ (.*?) +│ {2}│ (.*?) +│/.exec(frame) ?? []
  assert.deepEqual([a, b], ['system 2.0.0', '–'])
  assert.match(frame, /● booted {3}▸ primary/)
  assert.doesNotMatch(frame, /on trial|not connected/)
  assert.match(frame, /connected · state 0 \(idle\), result 700/)
  assert.equal(scene.phase, undefined)
})

test('a frame as SVG: every word in its place and its colour', () => {
  const svg = svgOf(`  ${painter(true)('greenBright', '✔')}  a < b   ${painter(true)('dim', '1.0 s')}`, 'A title')
  assert.match(svg, /<title>A title<\/title>/)
  assert.match(svg, /x="34\.8"[^>]*fill="#56d364"[^>]*>✔</)
  assert.match(svg, /x="60\.0"[^>]*>a &lt; b</)
  assert.match(svg, /fill="#6e7681"[^>]*>1\.0 s</)
})

test('what a device reports does not command the terminal', () => {
  const { scene, moments } = story()
  for (const moment of moments) moment()
  scene.versions.b = EVIL
  Object.assign(scene.twin, { installed: EVIL, details: EVIL })
  scene.act = EVIL
  const picture = draw(scene, { columns: 120, rows: 60, paint: painter(false), now: Date.now() })
  assert.doesNotMatch(picture, OBEYED)
  let plain = ''
  const out = { write: (text: string) => (plain += text) } as unknown as NodeJS.WritableStream
  plainShow(out).tell(1, 'twin', EVIL)
  assert.doesNotMatch(plain, OBEYED)
})
