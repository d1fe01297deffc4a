import { firmwareProgress, type Progress, startedAt } from '../progress.ts'

/** One device of a fleet: the outcome of the call and of the update. */
export interface DeviceRun {
  readonly deviceId: string
  readonly batch: number
  readonly jobId: string
  readonly outcome: 'calling' | 'running' | 'succeeded' | 'failed' | 'refused' | 'unreached'
  /** When the hub started on this device, by the hub's clock, in milliseconds. */
  readonly startedAt?: number
  readonly answer?: { readonly status: number; readonly payload: unknown }
  readonly progress?: Progress
  readonly details?: string
}

export const hasEnded = ({ outcome }: DeviceRun): boolean => outcome !== 'calling' && outcome !== 'running'
export const hasFailed = (run: DeviceRun): boolean => hasEnded(run) && run.outcome !== 'succeeded'

/** The parts of a `devices.jobs` document that we read. */
interface DeviceJob {
  readonly deviceId?: string
  readonly status?: string
  readonly startTimeUtc?: string | null
  readonly outcome?: { readonly deviceMethodResponse?: { readonly status: number; readonly payload: unknown } }
  readonly error?: { readonly code?: string; readonly description?: string }
}

/** The run after the hub reported the call's outcome. Pure. */
export function called(run: DeviceRun, document: unknown): DeviceRun {
  const { status, startTimeUtc, outcome, error } = document as DeviceJob
  if (run.outcome !== 'calling' || status === 'pending' || status === 'running' || status === 'scheduled') return run
  const answer = outcome?.deviceMethodResponse
  const started = startTimeUtc ? { startedAt: Date.parse(startTimeUtc) } : {}
  if (!answer) {
    return {
      ...run,
      ...started,
      outcome: 'unreached',
      details: error?.description ?? `the call has ended as ${status}`,
    }
  }
  if (answer.status === 200) return { ...run, ...started, answer, outcome: 'running' }
  const words = typeof answer.payload === 'string' ? answer.payload : JSON.stringify(answer.payload)
  return { ...run, ...started, answer, outcome: 'refused', details: `${answer.status}: ${words}` }
}

/** The run after a look at the twin, ignoring what belongs to an earlier run of this device. Pure. */
export function seen(run: DeviceRun, twin: unknown, uri: string | undefined): DeviceRun {
  if (run.outcome !== 'running') return run
  const reported = (twin as { properties?: { reported?: unknown } }).properties?.reported
  const progress = firmwareProgress(reported)
  const since = startedAt(reported)
  const ours = since === undefined || run.startedAt === undefined ? progress?.subject === uri : since >= run.startedAt
  if (!progress || !ours) return run
  const details = progress.details === undefined ? {} : { details: progress.details }
  if (progress.phase === 'succeeded' || progress.phase === 'failed') {
    return { ...run, ...details, progress, outcome: progress.phase }
  }
  return { ...run, progress }
}

export type Counts = Readonly<Record<DeviceRun['outcome'], number>>

export function countsOf(runs: readonly DeviceRun[]): Counts {
  const counts = { calling: 0, running: 0, succeeded: 0, failed: 0, refused: 0, unreached: 0 }
  for (const { outcome } of runs) counts[outcome] += 1
  return counts
}
