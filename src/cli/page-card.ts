import { uptime } from 'node:os'
import { type Card, type DrawnLight, lightOf } from '../page/state.ts'
import type { ToldEvent } from '../view/event.ts'
import type { AgentView } from '../view/view.ts'
import type { Line } from './lines.ts'
import { type Seen, statusLines } from './status/text.ts'
import { eventText, pace, type Sample, sampled } from './watch/text.ts'

/** Of the newest events on the page. */
const MAX_EVENTS = 20

/** Events that the light and the bar show. */
const DRAWN: ReadonlySet<string> = new Set(['mood', 'writing', 'install.progress', 'step.progress'])

/** What does not change while a device is shown. */
interface Shown extends Pick<Seen, 'hasSlots' | 'layers'> {
  readonly host: string
  readonly lights: readonly DrawnLight[]
}

/** Returns a function that makes the card of each view of a device on this machine. It measures the rate between one view and the next. */
export function cardOf({ host, lights, ...seen }: Shown): (view: AgentView, events: readonly ToldEvent[]) => Card {
  let samples: readonly Sample[] = []
  return (view, events) => {
    const now = uptime()
    const { progress, step } = view
    samples = progress ? sampled(samples, { uptime: now, bytes: progress.bytes }) : []
    return {
      host,
      ...placed(statusLines(view, { now: new Date(), uptime: now, ...seen }), view),
      progress: progress?.size
        ? {
            percent: Math.floor((100 * progress.bytes) / progress.size),
            text: pace(progress.size - progress.bytes, samples),
          }
        : step && step.percent !== null
          ? { percent: step.percent, text: '' }
          : null,
      light: lightOf(view, lights, events, now),
      events: events
        .filter(({ event }) => !DRAWN.has(event))
        .slice(-MAX_EVENTS)
        .map(event => ({ time: event.time.slice(11, 19), text: eventText(event) })),
    }
  }
}

/** The lines of the slots have a place of their own. */
function placed(lines: readonly Line[], { boot }: AgentView): Pick<Card, 'lines' | 'slots'> {
  const isSlot = ([name]: Line): boolean => name.startsWith('slot ')
  return {
    lines: lines.filter(line => !isSlot(line)),
    slots: lines.filter(isSlot).map(([name, text]) => ({ name, text, booted: name === `slot ${boot?.booted}` })),
  }
}
