import type { Stage } from './stage.ts'
import type { AgentReport } from './watch.ts'

/** One thing that must be true at the end. */
export interface Check {
  readonly what: string
  readonly ok: boolean
  /** What was found instead. */
  readonly found: string
}

export interface Expected {
  readonly version: string
  readonly slot: 'a' | 'b'
  readonly trial?: 'none' | 'failed'
}

/** The device, looked at from outside: on, connected, and on that system for good. */
export async function deviceIs(stage: Stage, { version, slot, trial = 'none' }: Expected): Promise<Check[]> {
  const { alive, booted, version: running, onDisk, boot } = await stage.facts()
  const settled = boot?.primary === slot && boot.trial === trial
  return [
    { what: 'the device is on and connected', ok: alive, found: 'it is not' },
    {
      what: `it runs system ${version} from slot ${slot}`,
      ok: booted === slot && running === version && onDisk === version,
      found: `system ${running || '?'} from slot ${booted}, which holds ${onDisk}`,
    },
    {
      what: `slot ${slot} is primary, ${trial === 'none' ? 'no trial is open' : 'the trial of the other is over'}`,
      ok: settled,
      found: JSON.stringify(boot),
    },
  ]
}

/** As `deviceIs`, in one line: nothing has changed. */
export async function deviceStays(stage: Stage, expected: Expected): Promise<Check> {
  const wrong = (await deviceIs(stage, expected)).filter(({ ok }) => !ok)
  const what = `the device stays on system ${expected.version} in slot ${expected.slot}`
  return { what, ok: wrong.length === 0, found: wrong.map(each => `not so: ${each.what}; ${each.found}`).join(', ') }
}

/** The twin says that this very version was applied. */
export function twinSaysApplied(report: AgentReport, version: string): Check[] {
  const { state, lastInstallResult: result, installedUpdateId = '{}' } = report
  const installed = JSON.parse(installedUpdateId).version
  const ok =
    state === 0 && result?.resultCode === 700 && result.extendedResultCodes === '00000000' && installed === version
  return [{ what: `the twin says: applied, installed ${version}`, ok, found: summaryOf(report) }]
}

/** The twin says that it failed, with this code and these words. */
export function twinSaysFailed(report: AgentReport, code: string, words: RegExp, cause: string): Check[] {
  const { state, lastInstallResult: result } = report
  const named = result?.extendedResultCodes === code && words.test(result.resultDetails ?? '')
  const ok = state === 255 && result?.resultCode === 0 && named
  return [{ what: `the twin says: failed, ${cause} (${code})`, ok, found: summaryOf(report) }]
}

/** The twin says that it was cancelled. */
export function twinSaysCancelled(report: AgentReport): Check[] {
  const ok = report.state === 0 && report.lastInstallResult?.resultCode === -1
  return [{ what: 'the twin says: cancelled', ok, found: summaryOf(report) }]
}

export const fact = (what: string, ok: boolean, found: string): Check => ({ what, ok, found })

function summaryOf({ state, lastInstallResult: result, installedUpdateId }: AgentReport): string {
  const { resultCode, extendedResultCodes, resultDetails } = result ?? {}
  return `state ${state}, result ${resultCode}, ${extendedResultCodes}, "${resultDetails ?? ''}", installed ${installedUpdateId}`
}
