import { type Attempt, type InstallResult, runningUpdate } from '../../domain/attempt.ts'
import type { UpdateId, Workflow } from '../../domain/deployment.ts'
import { ercText, RESULT_CODE } from '../../domain/result-codes.ts'
import { type StepRecord, type StepResult, stepsEnded } from '../../domain/step-record.ts'
import { resultsByStep } from '../../domain/step-results.ts'
import { cut } from '../../domain/text.ts'
import type { Reported } from '../../ports/hub.ts'
import type { Reporter } from '../reporter.ts'
import type { DeviceProperties } from '../twin-contract.ts'

/** States on the wire (PROTOCOL.md, "States"). */
const STATE = { idle: 0, inProgress: 6, failed: 255 } as const

/** In bytes (PROTOCOL.md, "Final report"). */
const MAX_DETAILS = 1024
/** Limit for the details of all steps together, in bytes: a twin holds 32 KB in total. */
const MAX_STEP_DETAILS = 8192

/** The parts of an attempt that a final report needs. */
type Ended = Pick<Attempt, 'workflow' | 'updateId' | 'steps'>

export const MODEL_ID = 'dtmi:azure:iot:deviceUpdateModel;3'
const CONTRACT_MODEL_ID = 'dtmi:azure:iot:deviceUpdateContractModel;3'

/** A reported property of a component (PROTOCOL.md, "Component envelope"). */
export const component = (name: string, value: object): Reported => ({ [name]: { __t: 'c', ...value } })

const echo = ({ action, id, retryTimestamp }: Workflow) => ({
  action,
  id,
  ...(retryTimestamp ? { retryTimestamp } : {}),
})

const resultOf = (resultCode: number, codes: readonly number[], details: string | null) => ({
  resultCode,
  extendedResultCodes: codes.map(ercText).join(','),
  resultDetails: details,
})

/** State 6: sent only when work really starts or waits for a gate of this device. */
export const inProgress = (workflow: Workflow, details: string | null = null): Reported =>
  component('deviceUpdate', {
    agent: {
      state: STATE.inProgress,
      workflow: echo(workflow),
      lastInstallResult: { ...resultOf(RESULT_CODE.inProgress, [0], details), stepResults: null },
    },
  })

/** A cancel that the service did not order is a failure to it: it still waits for its update. */
export const isFailure = ({ resultCode, extendedResultCodes: [code = 0] }: InstallResult): boolean =>
  resultCode === RESULT_CODE.failure || (resultCode === RESULT_CODE.cancelled && code !== 0)

/** PROTOCOL.md, "Final report". The update id is sent only on success, or after a rollback: without it the twin keeps the old one. */
export function final(ended: Ended, result: InstallResult): Reported {
  const { workflow, steps } = ended
  const details = cut(result.resultDetails, MAX_DETAILS)
  const running = runningUpdate(ended, result)
  return component('deviceUpdate', {
    agent: {
      state: isFailure(result) ? STATE.failed : STATE.idle,
      workflow: echo(workflow),
      ...(running === undefined ? {} : { installedUpdateId: updateIdText(running) }),
      lastInstallResult: {
        ...resultOf(result.resultCode, result.extendedResultCodes, details),
        stepResults: workflow.action === 255 ? null : stepResults(stepsEnded(steps, result), result),
      },
    },
  })
}

/** The final report without free text, for when the hub has rejected the full report. */
export const reduced = (ended: Ended, result: InstallResult): Reported =>
  final({ ...ended, steps: ended.steps.map(withoutDetails) }, { ...result, resultDetails: '' })

const withoutDetails = (step: StepRecord): StepRecord =>
  step.result ? { ...step, result: { ...step.result, resultDetails: '' } } : step

/** `step_0`, `step_1`, …; a deployment that was refused before its steps were read is reported as one step. */
function stepResults(steps: readonly StepRecord[], { resultCode, extendedResultCodes, resultDetails }: InstallResult) {
  const [extendedResultCode = 0] = extendedResultCodes
  const whole: StepResult = { resultCode, extendedResultCode, resultDetails }
  const results = steps.length === 0 ? [whole] : resultsByStep(steps).map(result => result ?? NOT_BEGUN)
  const most = Math.min(MAX_DETAILS, Math.floor(MAX_STEP_DETAILS / results.length))
  return Object.fromEntries(
    results.map((each, index) => [
      `step_${index}`,
      resultOf(each.resultCode, [each.extendedResultCode], cut(each.resultDetails, most) || null),
    ]),
  )
}

/** The result of a step after the one that failed. */
const NOT_BEGUN: StepResult = { resultCode: 0, extendedResultCode: 0, resultDetails: '' }

/** Reports to the twin that work really starts, and how it ended. */
export const deviceUpdateReporter: Reporter = {
  hold: 0,
  stage: ({ workflow }, stage) => (stage === 'downloading' ? inProgress(workflow) : undefined),
  waiting: ({ workflow }, why) => inProgress(workflow, cut(why, MAX_DETAILS)),
  final,
  reduced,
}

/** A string with JSON text, keys in this order, no white space (PROTOCOL.md, "Final report"). Null deletes it. */
export const updateIdText = (updateId: UpdateId | null): string | null => {
  if (!updateId) return null
  const { provider, name, version } = updateId
  return JSON.stringify({ provider, name, version })
}

/** Only what is installed: `lastInstallResult` stays that of the last workflow. */
export const installed = (updateId: UpdateId | null): Reported =>
  component('deviceUpdate', { agent: { installedUpdateId: updateIdText(updateId) } })

/** PROTOCOL.md, "Acknowledgement": echoes only the workflow, because the twin is small. */
export const acknowledgement = (workflow: unknown, version: number): Reported =>
  component('deviceUpdate', {
    service: { value: workflow === undefined ? {} : { workflow }, ac: 200, ad: '', av: version },
  })

/** One patch (PROTOCOL.md, "Startup report"). */
export const startup = (
  device: DeviceProperties,
  information: Readonly<Record<string, string | number>>,
): Reported => ({
  ...component('deviceUpdate', {
    agent: {
      deviceProperties: {
        manufacturer: device.manufacturer,
        model: device.model,
        ...device.additional,
        // Deletes what the agent of 2021 used to report.
        interfaceId: null,
        contractModelId: CONTRACT_MODEL_ID,
        aduVer: `DU;agent/${device.agentVersion}`,
      },
      compatPropertyNames: device.compatPropertyNames,
    },
  }),
  ...component('deviceInformation', information),
})

/** Whether the twin already shows everything in `patch`, so that sending it would only cost a message. */
export function shows(reported: unknown, patch: unknown): boolean {
  if (typeof patch !== 'object' || patch === null) return Object.is(reported, patch)
  if (typeof reported !== 'object' || reported === null) return false
  const have = reported as Record<string, unknown>
  return Object.entries(patch).every(([key, value]) => (value === null ? !(key in have) : shows(have[key], value)))
}
