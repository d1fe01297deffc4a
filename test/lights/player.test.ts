import assert from 'node:assert/strict'
import test from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { Schedule } from '../../src/gates/window.ts'
import { DARK, litAt, PATTERNS, REFUSED_AND_ENDED, untilChange } from '../../src/lights/patterns.ts'
import { LightPlayer } from '../../src/lights/player.ts'
import type { Lit } from '../../src/ports/lights.ts'
import { type AgentView, NOTHING } from '../../src/view/view.ts'
import { VirtualClock } from '../workflow/virtual-clock.ts'
import { distance, MOODS, recognised, type Sample } from './rhythms.ts'

const events = { tell() {} }
const ONLINE: AgentView = { ...NOTHING, phase: 'idle', hub: { connected: true, since: 0, why: null } }
const FAILED: AgentView = { ...ONLINE, configRefused: true }

/** `s` status, `a` activity, `f` fault, `-` dark. */
const text = ({ status, activity, fault }: Lit): string =>
  `${status ? 's' : '-'}${activity ? 'a' : '-'}${fault ? 'f' : '-'}`

function board(off?: Schedule) {
  const clock = new VirtualClock()
  const seen: string[] = []
  const lights = {
    set: (lit: Lit) => void seen.push(`${clock.monotonic()} ${text(lit)}`),
    end: () => void seen.push('end'),
  }
  const player = new LightPlayer(lights, clock, events, { off, uptime: () => clock.monotonic() / 1000 })
  return { clock, seen, player, pass: (milliseconds: number) => clock.passUntil(() => false, milliseconds) }
}

test('each role shows its part of a pattern, in its rhythm', async () => {
  const played = async (view: AgentView, milliseconds: number) => {
    const { seen, player, pass } = board()
    player.see(view)
    await pass(milliseconds)
    return seen
  }
  assert.deepEqual(await played(ONLINE, 3100), ['0 s--', '2800 ---', '3000 s--'])
  assert.deepEqual(await played({ ...ONLINE, writing: 'slot' }, 600), ['0 sa-', '250 ---', '500 sa-'])
  assert.deepEqual(await played(FAILED, 2700), ['0 s-f', '1000 ---', '1300 s-f', '2300 ---', '2600 s-f'])
  assert.equal(text(REFUSED_AND_ENDED), 's-f')
})

test('a new mood is on the lights before the call returns, the same mood again disturbs nothing, and the end ends it', async () => {
  const { clock, seen, player } = board()
  player.see(ONLINE)
  player.see({ ...ONLINE, slots: { ...ONLINE.slots } })
  assert.deepEqual(seen, ['0 s--'])
  player.see(FAILED)
  assert.deepEqual(seen, ['0 s--', '0 s-f'])
  player.end()
  for (let turns = 0; turns < 8; turns++) await turn()
  assert.equal(clock.timers, 0)
  assert.deepEqual(seen, ['0 s--', '0 s-f', 'end'], 'the pattern played on')
})

test('a good update is shown for its minute, to the millisecond', async () => {
  const { clock, player, pass } = board()
  const moods: string[] = []
  const told = { tell: (event: object) => void moods.push(`${clock.monotonic()} ${(event as { mood: string }).mood}`) }
  const lights = { set() {}, end() {} }
  const showing = new LightPlayer(lights, clock, told, { uptime: () => clock.monotonic() / 1000 })
  showing.see({ ...ONLINE, updatedUntil: 60 })
  await pass(70_000)
  assert.deepEqual(moods, ['0 updated', '60000 online'])
  player.end()
})

test('at night the lights are off, but not by a clock that is wrong', async () => {
  // Off for the first two minutes of each ten.
  const off: Schedule = now => {
    const into = now % 600_000
    return into < 120_000 ? { open: true, until: now - into + 120_000 } : { open: false, until: undefined }
  }
  const night = board(off)
  night.player.see(ONLINE)
  await night.pass(125_000)
  const lit = night.seen.filter(each => !each.endsWith('---'))
  assert.deepEqual(lit[0], '120000 s--')
  await night.pass(600_000)
  const times = night.seen.filter(each => !each.endsWith('---')).map(each => Number(each.split(' ')[0]))
  // 30 seconds are between two looks at the clock.
  assert.ok(!times.some(at => at > 630_000 && at < 720_000), 'lit at night')
  assert.ok(times.some(at => at > 590_000 && at < 600_000) && times.some(at => at >= 720_000))
  const wrong = board(off)
  wrong.player.see({ ...ONLINE, time: { trusted: false } })
  assert.deepEqual(wrong.seen, ['0 s--'])
})

test('what is lit and when it changes agree', () => {
  for (const pattern of Object.values(PATTERNS)) {
    for (let age = 0; age < 9000; age += 10) {
      const next = untilChange(pattern, age)
      assert.deepEqual(litAt(pattern, age), litAt(pattern, age + next - 1))
      assert.notDeepEqual(litAt(pattern, age), litAt(pattern, age + next))
    }
  }
})

test('any two patterns differ by rhythm alone: in the number of flashes, or in one time by a factor of two', () => {
  for (const one of MOODS) {
    const { rhythm } = PATTERNS[one]
    assert.equal(rhythm.length % 2, 0, `${one} ends lit`)
    assert.ok(Math.min(...rhythm) >= 100, `${one} has a flash that is too short to be seen`)
    assert.ok(rhythm.reduce((a, b) => a + b) <= 5000, `${one} takes too long`)
    for (let part = 1; part < rhythm.length / 2; part += 1) {
      const turned = [...rhythm.slice(2 * part), ...rhythm.slice(0, 2 * part)]
      assert.notDeepEqual(turned, rhythm, `${one} is a shorter rhythm, repeated`)
    }
    for (const two of MOODS) {
      const apart = distance(rhythm, PATTERNS[two].rhythm)
      if (one === two) assert.equal(apart, 1)
      else assert.ok(apart >= 2, `${one} and ${two} are only ${apart} apart`)
    }
  }
})

/** From any moment on, at any tempo, by someone who looks `every` milliseconds or so. */
function watched(mood: (typeof MOODS)[number], begin: number, tempo: number, every: number): Sample[] {
  const jitter = (i: number): number => ((i * 7919) % 13) - 6
  return Array.from({ length: Math.ceil(15_000 / every) }, (_, i) => {
    const at = i * every + jitter(i)
    return [at, litAt(PATTERNS[mood], begin + at * tempo).status]
  })
}

test('one light is enough: a viewer recognises each pattern, whenever he begins to look, at a tempo that is 10 % off', () => {
  for (const mood of MOODS)
    for (const tempo of [0.9, 1, 1.1])
      for (let begin = 10; begin < 5000; begin += 370)
        assert.equal(recognised(watched(mood, begin, tempo, 20)), mood, `${mood} from ${begin} at ${tempo}`)
  assert.equal(recognised(watched('online', 0, 0, 20)), undefined, 'a light that is always lit says nothing')
  const [late, later] = [8, 2].map(nth => watched('writing', 0, 1, 20).filter(([at]) => Math.floor(at / 500) % nth > 0))
  assert.equal(recognised(late ?? []), 'writing', 'of eight cycles one was not seen')
  assert.equal(recognised(later ?? []), undefined, 'of two cycles one was not seen')
})

test('every mood can be told by the lights of a board that has one of each role', () => {
  assert.equal(text(DARK), '---')
  for (const mood of MOODS) assert.match(text(litAt(PATTERNS[mood], 0)), /^s/)
})
