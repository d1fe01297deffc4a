import type { DateTime } from 'luxon'

/** When a gate is open: days of the week, from one local time to another; past midnight if `to` is not later than `from`. */
export interface Window {
  /** Days on which the window opens; 1 is Monday (ISO 8601). */
  readonly days: readonly number[]
  /** Minutes after midnight, 0 to 1439. */
  readonly from: number
  /** Minutes after midnight, 1 to 1440. */
  readonly to: number
}

const DAYS = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun']

/** The form of a window, for the author of a configuration. */
export const WINDOW_FORM = 'must be like "02:00-05:00", "Mon-Fri 22:00-06:00" or "Sat,Sun 00:00-24:00"'

/** Undefined for a text that is not a window. */
export function windowOf(text: string): Window | undefined {
  const [, names, hour1, minute1, hour2, minute2] =
    /^(?:([A-Za-z,-]+) )?(\d\d):([0-5]\d)-(\d\d):([0-5]\d)$/.exec(text) ?? []
  const [from, to] = [minutes(hour1, minute1), minutes(hour2, minute2)]
  if (from === undefined || to === undefined || from === 1440 || to === 0 || from === to) return undefined
  const days = names === undefined ? [1, 2, 3, 4, 5, 6, 7] : daysOf(names)
  return days && { days, from, to }
}

function minutes(hour = '', minute = ''): number | undefined {
  const all = 60 * Number(hour) + Number(minute)
  return hour !== '' && all <= 1440 ? all : undefined
}

/** `Mon-Fri`, `Sat,Sun`, `Fri-Mon`. */
function daysOf(names: string): readonly number[] | undefined {
  const found = new Set<number>()
  for (const range of names.toLowerCase().split(',')) {
    const [first = '', last = first, ...more] = range.split('-')
    const [begin, end] = [DAYS.indexOf(first), DAYS.indexOf(last)]
    if (begin < 0 || end < 0 || more.length > 0) return undefined
    for (let day = begin; ; day = (day + 1) % 7) {
      found.add(day + 1)
      if (day === end) break
    }
  }
  return [...found].sort()
}

/** Milliseconds since 1970. */
export type Opening =
  | { readonly open: true; readonly until: number }
  | { readonly open: false; readonly until: number | undefined }

/** Whether any of a set of windows is open at a time, and until when that stays so. */
export type Schedule = (now: number) => Opening

/**
 * Days to examine, beginning with yesterday. A few are normally enough; more are needed if a window is rare, falls into the
 * change to summer time, or adjoins the next one.
 */
const DAYS_AHEAD = [3, 16] as const

/**
 * The schedule of `windows` in a time zone (IANA name; undefined: the system's). Times are local wall-clock times: when
 * summer time begins, a time that does not exist counts as an hour later; when it ends, a time that exists twice counts as
 * the first one. A window without length on a day does not open on that day.
 */
export async function scheduleOf(windows: readonly Window[], zone: string | undefined): Promise<Schedule> {
  // Loaded only on use, because most devices have no windows.
  const { DateTime } = await import('luxon')
  return now => {
    const yesterday = DateTime.fromMillis(now, { zone: zone ?? 'system' })
      .startOf('day')
      .minus({ days: 1 })
    let opening: Opening = { open: false, until: undefined }
    for (const count of DAYS_AHEAD) {
      const days = Array.from({ length: count }, (_, ahead) => yesterday.plus({ days: ahead }))
      const span = merged(days.flatMap(day => spansOf(day, windows))).find(({ end }) => end > now)
      if (!span) continue
      opening = span.begin <= now ? { open: true, until: span.end } : { open: false, until: span.begin }
      if (span.end < yesterday.plus({ days: count }).toMillis()) break
    }
    return opening
  }
}

interface Span {
  readonly begin: number
  readonly end: number
}

function spansOf(day: DateTime, windows: readonly Window[]): Span[] {
  const at = (minutes: number): number =>
    day
      .plus({ days: Math.floor(minutes / 1440) })
      .set({ hour: Math.floor((minutes % 1440) / 60), minute: minutes % 60 })
      .toMillis()
  return windows
    .filter(({ days }) => days.includes(day.weekday))
    .map(({ from, to }) => ({ begin: at(from), end: at(to > from ? to : to + 1440) }))
    .filter(({ begin, end }) => end > begin)
}

/** Sorted, with adjacent spans merged. */
function merged(spans: readonly Span[]): readonly Span[] {
  const result: Span[] = []
  for (const span of [...spans].sort((one, two) => one.begin - two.begin)) {
    const last = result.at(-1)
    if (last && span.begin <= last.end)
      result[result.length - 1] = { begin: last.begin, end: Math.max(last.end, span.end) }
    else result.push(span)
  }
  return result
}
