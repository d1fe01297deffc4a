import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DateTime } from 'luxon'
import { type Schedule, scheduleOf, type Window, windowOf } from '../../src/gates/window.ts'

const ms = (text: string, zone = 'Europe/Berlin'): number => DateTime.fromISO(text, { zone }).toMillis()
const schedule = (texts: readonly string[], zone = 'Europe/Berlin'): Promise<Schedule> =>
  scheduleOf(
    texts.map(text => windowOf(text) ?? assert.fail(text)),
    zone,
  )

test('windows are read, and nothing else', () => {
  const week = [1, 2, 3, 4, 5, 6, 7]
  const good: readonly (readonly [string, Window])[] = [
    ['02:00-05:00', { days: week, from: 120, to: 300 }],
    ['Mon-Fri 22:00-06:00', { days: [1, 2, 3, 4, 5], from: 1320, to: 360 }],
    ['Sat,Sun 00:00-24:00', { days: [6, 7], from: 0, to: 1440 }],
    ['Fri-Mon 00:00-00:01', { days: [1, 5, 6, 7], from: 0, to: 1 }],
    ['wed 23:59-24:00', { days: [3], from: 1439, to: 1440 }],
  ]
  for (const [text, window] of good) assert.deepEqual(windowOf(text), window, text)
  const bad = ['', '2:00-5:00', '02:00', '02:00-02:00', '24:00-02:00', '02:00-00:00', '25:00-26:00', '02:60-03:00']
  for (const text of [
    ...bad,
    'Day 02:00-03:00',
    'Mon- 02:00-03:00',
    'Mon-Tue-Wed 02:00-03:00',
    ' 02:00-03:00',
    '02:00-24:01',
  ]) {
    assert.equal(windowOf(text), undefined, text)
  }
})

test('a window opens and closes on the minute, also over midnight', async () => {
  const nights = await schedule(['Mon-Fri 22:00-06:00'])
  // 2026-11-27 is a Friday.
  assert.deepEqual(nights(ms('2026-11-27T21:59:59.999')), { open: false, until: ms('2026-11-27T22:00') })
  assert.deepEqual(nights(ms('2026-11-27T22:00')), { open: true, until: ms('2026-11-28T06:00') })
  assert.deepEqual(nights(ms('2026-11-28T05:59')), { open: true, until: ms('2026-11-28T06:00') })
  assert.deepEqual(nights(ms('2026-11-28T06:00')), { open: false, until: ms('2026-11-30T22:00') })
})

test('windows that touch are one; a window for ever never closes within two weeks', async () => {
  const both = await schedule(['02:00-03:00', '03:00-04:00'])
  assert.deepEqual(both(ms('2026-11-27T02:30')), { open: true, until: ms('2026-11-27T04:00') })
  const always = (await schedule(['00:00-24:00']))(ms('2026-11-27T12:00'))
  assert.ok(always.open && always.until - ms('2026-11-27T12:00') > 12 * 86_400_000)
})

test('summer time begins: a time that does not exist is an hour later, a window inside the gap stays shut', async () => {
  // In Berlin 2026-03-29 has no 02:00 to 03:00.
  const over = await schedule(['01:30-02:30'])
  assert.deepEqual(over(ms('2026-03-29T01:45')), { open: true, until: ms('2026-03-29T03:30') })
  const inside = await schedule(['Sun 02:00-03:00'])
  assert.deepEqual(inside(ms('2026-03-29T01:00')), { open: false, until: ms('2026-04-05T02:00') })
})

test('summer time ends: a time that exists twice is the first one', async () => {
  // In Berlin 2026-10-25 has 02:00 to 03:00 twice.
  const early = await schedule(['02:00-02:30'])
  const first = Date.UTC(2026, 9, 25, 0, 0)
  assert.deepEqual(early(first), { open: true, until: first + 30 * 60_000 })
  assert.equal(early(first + 3600_000).open, false)
})

test('in every zone, through a year: what is said holds until the time that is said, and changes there', async () => {
  const texts = ['02:15-03:15', 'Sat 23:30-00:30', 'Sun-Mon 12:00-12:01']
  for (const zone of [
    'UTC',
    'Europe/Berlin',
    'America/New_York',
    'Australia/Lord_Howe',
    'Asia/Kathmandu',
    'Pacific/Apia',
  ]) {
    const windows = await schedule(texts, zone)
    const end = Date.UTC(2027, 0, 2)
    let changes = 0
    for (let now = Date.UTC(2026, 0, 1); now < end; changes++) {
      const seen = windows(now)
      assert.ok(seen.until !== undefined && seen.until > now, `${zone} ${new Date(now).toISOString()}`)
      for (const part of [0.5]) {
        assert.equal(
          windows(Math.floor(now + part * (seen.until - now))).open,
          seen.open,
          `${zone} ${new Date(now).toISOString()}`,
        )
      }
      assert.equal(windows(seen.until).open, !seen.open, `${zone} ${new Date(seen.until).toISOString()}`)
      now = seen.until
    }
    assert.ok(changes > 900, `${zone}: ${changes}`)
  }
})
