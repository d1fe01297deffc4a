import type { ToldEvent } from '../../view/event.ts'
import type { AgentView } from '../../view/view.ts'
import { duration, mib, rows } from '../lines.ts'
import { bar } from '../live-view.ts'
import { type Seen, statusLines } from '../status/text.ts'

/** Bytes of the running installation at one time, in seconds since the machine's start. */
export interface Sample {
  readonly uptime: number
  readonly bytes: number
}

/** Seconds over which the rate is measured: a stall is seen, a short one does not make the figures jump. */
const WINDOW = 10

/** The samples with a new one. Bytes that go back belong to another installation. */
export function sampled(samples: readonly Sample[], next: Sample): readonly Sample[] {
  const last = samples.at(-1)
  if (last && next.bytes < last.bytes) return [next]
  return [...samples, next].filter(({ uptime }) => uptime >= next.uptime - WINDOW)
}

/** Bytes per second; undefined as long as it cannot be said. */
export function rateOf(samples: readonly Sample[]): number | undefined {
  const [first, last] = [samples[0], samples.at(-1)]
  if (!first || !last || last.uptime - first.uptime < 1) return undefined
  return (last.bytes - first.bytes) / (last.uptime - first.uptime)
}

const NAME = ' '.repeat(12)
/** Of the newest events in the picture. */
const MAX_EVENTS = 8

/** The whole picture, at most 80 columns wide. Pure. */
export function picture(
  view: AgentView,
  seen: Seen,
  samples: readonly Sample[],
  events: readonly ToldEvent[],
): string[] {
  return [
    ...statusLines(view, seen).flatMap(line =>
      line[0] === 'doing' ? [...rows(line), ...bars(view, samples)] : rows(line),
    ),
    ...events
      .slice(-MAX_EVENTS)
      .flatMap((event, i) => [...(i === 0 ? [''] : []), ...rows([clock(event), eventText(event)])]),
  ]
}

function bars({ progress }: AgentView, samples: readonly Sample[]): readonly string[] {
  if (!progress?.size) return []
  return [`${NAME}${bar((100 * progress.bytes) / progress.size)}${pace(progress.size - progress.bytes, samples)}`]
}

/** Rate and remaining time of `left` bytes; empty as long as they cannot be said. */
export function pace(left: number, samples: readonly Sample[]): string {
  const rate = rateOf(samples)
  const remaining = rate && left > 0 ? `, ${duration(Math.ceil(left / rate))} left` : ''
  return rate === undefined ? '' : `  ${mib(rate)}/s${rate === 0 ? ', stalled' : remaining}`
}

/** `14:05:59`, as the device's clock has it. */
const clock = ({ time }: ToldEvent): string => time.slice(11, 19)

const REBOOTS = {
  trial: 'into the new system',
  fallBack: 'back into the old system',
  step: 'as a step requested',
  asked: 'as asked for',
} as const

const WRITTEN = { slot: 'the other slot', bootState: 'the boot state', step: 'a step' } as const

/** An event in words. */
export function eventText(event: ToldEvent): string {
  switch (event.event) {
    case 'agent.started':
      return `the agent has started (version ${event.version}, system ${event.system || 'unknown'})`
    case 'agent.stopped':
      return `the agent was stopped (${event.signal})`
    case 'hub.connected':
      return 'connected to the hub'
    case 'hub.lost':
      return `no connection to the hub: ${event.why}; next attempt in ${duration(event.retryInMs / 1000)}`
    case 'identity.renewal-refused':
      return `the certificate of this device was not renewed: ${event.why}`
    case 'identity.renewed':
      return 'the certificate of this device has been renewed'
    case 'deployment.taken':
      return `deployment ${event.workflowId} of ${event.origin} is taken up`
    case 'deployment.refused':
      return `deployment ${event.workflowId} is refused: ${event.why} (${event.code})`
    case 'stick.refused':
      return `the stick cannot be used: ${event.why}`
    case 'stick.away':
      return 'the stick was taken away, or can be used after all'
    case 'deployment.ignored':
      return `ignored: ${event.why}`
    case 'deployment.warning':
      return `deployment ${event.workflowId} is taken all the same (${event.check}): ${event.why}`
    case 'install.begin':
      return `${event.file} is installed to slot ${event.slot}${event.size === undefined ? '' : `, ${mib(event.size)}`}`
    case 'install.progress':
      return `${mib(event.bytes)}${event.of === undefined ? '' : ` of ${mib(event.of)}`} installed`
    case 'install.resumed':
      return `${mib(event.bytes)} were in the slot already`
    case 'install.end':
      return `installed to slot ${event.slot} in ${duration(event.ms / 1000)}`
    case 'step.begin':
      return `step ${event.step} of ${event.of}: ${event.handler}${event.component === undefined ? '' : ` for ${event.component}`}`
    case 'step.progress':
      return `step ${event.step}: ${event.percent} %`
    case 'step.end':
      return `step ${event.step} ended with ${event.resultCode}${event.resultDetails ? `: ${event.resultDetails}` : ''}`
    case 'writing':
      return `writing: ${WRITTEN[event.what]}; do not cut the power`
    case 'activated':
      return `slot ${event.slot} is started next, on trial`
    case 'reboot':
      return `reboot ${REBOOTS[event.why]}`
    case 'trial.begun':
      return `slot ${event.slot} is on trial, ${event.tries} more ${event.tries === 1 ? 'start' : 'starts'}`
    case 'trial.finding':
      return `not healthy yet: ${event.finding}`
    case 'committed':
      return `slot ${event.slot} is committed (system ${event.version})`
    case 'fall-back':
      return `back to the old system: ${event.why} (${event.code})`
    case 'result':
      return `result ${event.resultCode}, ${event.extendedResultCodes}${event.resultDetails ? `: ${event.resultDetails}` : ''}`
    case 'reported':
      return `the hub has the result ${event.resultCode} of ${event.workflowId}`
    case 'action.failed':
      return `${event.action} failed: ${event.why}${event.code === undefined ? '' : ` (${event.code})`}`
    case 'asked':
      return `asked at the device to ${event.what}: ${event.answer}`
    case 'mood':
      return `lights: ${event.mood}`
  }
}
