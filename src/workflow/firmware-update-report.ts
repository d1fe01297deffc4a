import type { FirmwareRecord, InstallResult } from '../domain/deployment.ts'
import { EXTENDED_RESULT_CODE, ercText, RESULT_CODE } from '../domain/result-codes.ts'
import type { Reported } from '../ports.ts'
import { cut } from './report.ts'

/** The words of the tutorial (protocol, chapter 11.2); `rebooting` and `rolledBack` are this agent's. */
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

/** The hub takes more; a person reads no more. */
const MAX_MESSAGE = 1024

interface More {
  /** Per cent. */
  readonly progress?: number
  readonly error?: { readonly code: string; readonly message: string }
}

/**
 * `iothubDM.firmwareUpdate` as it is now. Always complete, with null for what is not there: a patch that got lost on the
 * way leaves no gap behind the next one, and nothing of an earlier run survives.
 */
export const firmwareStage = (record: FirmwareRecord, status: FirmwareStatus, more: More = {}): Reported => ({
  iothubDM: {
    firmwareUpdate: {
      fwPackageUri: record.update.url,
      status,
      progress: more.progress ?? null,
      error: more.error ?? null,
      startedWaitingTime: record.startedWaitingTime,
      downloadCompleteTime: record.downloadCompleteTime ?? null,
      startedApplyingImage: record.startedApplyingImage ?? null,
      lastFirmwareUpdate: record.lastFirmwareUpdate ?? null,
    },
  },
})

/** How it ended. */
export function firmwareFinal(
  record: FirmwareRecord,
  { resultCode, extendedResultCodes, resultDetails }: InstallResult,
) {
  if (resultCode === RESULT_CODE.applied) return firmwareStage(record, 'applyComplete')
  const [code = 0] = extendedResultCodes
  const message = cut(resultDetails, MAX_MESSAGE)
  return firmwareStage(record, failedStatus(code), { error: { code: ercText(code), message } })
}

/** The same without what a person wrote, for a hub that refused the whole. */
export const firmwareReduced = (record: FirmwareRecord, result: InstallResult): Reported =>
  firmwareFinal(record, { ...result, resultDetails: '' })

const { FELL_BACK, HEALTH, CRITERIA_NOT_MET, FILE_SIZE, TIMED_OUT, REPLACED } = EXTENDED_RESULT_CODE
const ROLLED_BACK: readonly number[] = [FELL_BACK, HEALTH, CRITERIA_NOT_MET]
const DOWNLOAD: readonly number[] = [FILE_SIZE, TIMED_OUT, REPLACED]

function failedStatus(code: number): FirmwareStatus {
  if (ROLLED_BACK.includes(code)) return 'rolledBack'
  // Facility 4 is the download's (chapter 6.3).
  return code >>> 28 === 4 || DOWNLOAD.includes(code) ? 'downloadFailed' : 'applyFailed'
}

/** `iothubDM.reboot`, before the reboot. */
export const rebootReport = (now: Date): Reported => ({ iothubDM: { reboot: { lastReboot: now.toISOString() } } })

export interface ProgressOptions {
  /** A report for each so many per cent … */
  readonly percent: number
  /** … and, if it went on by one per cent at least, after so many milliseconds. */
  readonly every: number
}

/** Pollers look twice a second: more often than this nobody would see. Milliseconds. */
const LEAST_PAUSE = 1000

/**
 * Which progress is worth a message: at most 100 in a whole update, however long it takes, and none for the last per
 * cent, which the next stage says better. Milliseconds come from a monotonic clock.
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
