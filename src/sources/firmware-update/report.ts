import type { Attempt, InstallResult, Phase } from '../../domain/attempt.ts'
import { ercText, RESULT_CODE } from '../../domain/result-codes.ts'
import { cut } from '../../domain/text.ts'
import type { Reported } from '../../ports/hub.ts'
import type { Reporter, Stage } from '../reporter.ts'

/** The stages of the tutorial (PROTOCOL.md, "Reported stages"); `rebooting` and `rolledBack` are this agent's. */
export type FirmwareStatus =
  | 'waiting'
  | 'downloading'
  | 'downloadComplete'
  | 'downloadFailed'
  | 'applying'
  | 'applyFailed'
  | 'rebooting'
  | 'rolledBack'
  | 'applyComplete'

/** The hub accepts longer messages, but nobody reads them. */
const MAX_MESSAGE = 1024

interface More {
  /** Percent. */
  readonly progress?: number
  readonly error?: { readonly code: string; readonly message: string }
}

/** The tutorial's name for each stage. */
const STATUS: Readonly<Record<Stage, FirmwareStatus>> = {
  waiting: 'waiting',
  downloading: 'downloading',
  downloaded: 'downloadComplete',
  applying: 'applying',
  rebooting: 'rebooting',
}

const FAILED: Readonly<Record<Phase, FirmwareStatus>> = {
  download: 'downloadFailed',
  apply: 'applyFailed',
  trial: 'rolledBack',
}

/** `hold`: minimum milliseconds for which each stage is shown, because callers of the tutorials poll. */
export function firmwareReporter(hold: number, options: ProgressOptions): Reporter {
  return {
    hold,
    stage: (attempt, stage) => shown(attempt, STATUS[stage], stage === 'downloading' ? { progress: 0 } : {}),
    progress(attempt, begun) {
      const worthTelling = progressFilter(options, begun)
      return (done, size, now) => {
        const percent = worthTelling(done, size, now)
        return percent === undefined ? undefined : shown(attempt, 'downloading', { progress: percent })
      }
    },
    final: ended,
    reduced: (attempt, result) => ended(attempt, { ...result, resultDetails: '' }),
    reboot: now => ({ iothubDM: { reboot: { lastReboot: now.toISOString() } } }),
  }
}

/**
 * The current `iothubDM.firmwareUpdate`. Always complete, with null for missing members: after a lost patch, the next one
 * is still complete, and nothing of an earlier run remains.
 */
const shown = ({ own, times }: Attempt, status: FirmwareStatus, more: More = {}): Reported => ({
  iothubDM: {
    firmwareUpdate: {
      fwPackageUri: own?.url ?? null,
      status,
      progress: more.progress ?? null,
      error: more.error ?? null,
      startedWaitingTime: times.begun,
      downloadCompleteTime: times.downloaded ?? null,
      startedApplyingImage: times.applying ?? null,
      lastFirmwareUpdate: times.applied ?? null,
    },
  },
})

function ended(attempt: Attempt, { resultCode, extendedResultCodes, resultDetails, phase }: InstallResult): Reported {
  if (resultCode === RESULT_CODE.applied) return shown(attempt, 'applyComplete')
  const [code = 0] = extendedResultCodes
  const message = cut(resultDetails, MAX_MESSAGE)
  return shown(attempt, FAILED[phase ?? 'apply'], { error: { code: ercText(code), message } })
}

export interface ProgressOptions {
  /** A report every `percent` percent … */
  readonly percent: number
  /** … and, if progress grew by at least one percent, every `every` milliseconds. */
  readonly every: number
}

/** Minimum milliseconds between two reports. Callers poll twice a second, so they would miss more frequent ones. */
const LEAST_PAUSE = 1000

/**
 * Which progress is worth a message: at most 100 per update, however long it takes, and none for the last percent, because
 * the next stage follows at once. Milliseconds come from a monotonic clock.
 */
export function progressFilter({ percent, every }: ProgressOptions, begun: number) {
  let told = 0
  let toldAt = begun
  return (done: number, size: number, now: number): number | undefined => {
    const reached = Math.floor((done / size) * 100)
    const pause = now - toldAt
    if (reached <= told || reached >= 100 || pause < LEAST_PAUSE) return undefined
    if (reached - told < percent && pause < every) return undefined
    told = reached
    toldAt = now
    return reached
  }
}
