import type { InstallResult, UpdateId, Workflow } from '../domain/deployment.ts'
import { ercText, RESULT_CODE } from '../domain/result-codes.ts'
import type { Reported } from '../ports.ts'

/** On the wire, protocol chapter 2.1. */
const STATE = { idle: 0, inProgress: 6, failed: 255 } as const

/** The hub takes 1024 bytes (chapter 1.6). */
const MAX_DETAILS = 1024

export const MODEL_ID = 'dtmi:azure:iot:deviceUpdateModel;3'
const CONTRACT_MODEL_ID = 'dtmi:azure:iot:deviceUpdateContractModel;3'

/** A reported property of a component (chapter 1.3). */
const component = (name: string, value: object): Reported => ({ [name]: { __t: 'c', ...value } })

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

/** State 6: sent only for work that really starts. */
export const inProgress = (workflow: Workflow): Reported =>
  component('deviceUpdate', {
    agent: {
      state: STATE.inProgress,
      workflow: echo(workflow),
      lastInstallResult: { ...resultOf(RESULT_CODE.inProgress, [0], null), stepResults: null },
    },
  })

/** The final report (chapter 1.6). `updateId` goes out with success only: without it the twin keeps the old one. */
export function final(workflow: Workflow, result: InstallResult, updateId: UpdateId | undefined): Reported {
  const details = cut(result.resultDetails, MAX_DETAILS)
  const applied = result.resultCode === RESULT_CODE.applied
  const isCancel = workflow.action === 255
  return component('deviceUpdate', {
    agent: {
      state: result.resultCode === RESULT_CODE.failure ? STATE.failed : STATE.idle,
      workflow: echo(workflow),
      ...(applied && updateId ? { installedUpdateId: updateIdText(updateId) } : {}),
      lastInstallResult: {
        ...resultOf(result.resultCode, result.extendedResultCodes, details),
        stepResults: isCancel
          ? null
          : {
              step_0: resultOf(
                result.stepResultCode ?? result.resultCode,
                result.extendedResultCodes.slice(0, 1),
                details || null,
              ),
            },
      },
    },
  })
}

/** The same without what a person wrote, for a hub that refused the whole. */
export const reduced = (workflow: Workflow, result: InstallResult, updateId: UpdateId | undefined): Reported =>
  final(workflow, { ...result, resultDetails: '' }, updateId)

/** A string with JSON text, keys in this order, no white space (chapter 1.6). */
const updateIdText = ({ provider, name, version }: UpdateId): string => JSON.stringify({ provider, name, version })

/** Acknowledges `service` (chapter 1.7); echoes the workflow only, the twin is small. */
export const acknowledgement = (workflow: unknown, version: number): Reported =>
  component('deviceUpdate', {
    service: { value: workflow === undefined ? {} : { workflow }, ac: 200, ad: '', av: version },
  })

export interface DeviceProperties {
  readonly manufacturer: string
  readonly model: string
  readonly additional: Readonly<Record<string, string>>
  /** Comma separated. */
  readonly compatPropertyNames: string
  readonly agentVersion: string
}

/** Startup reports (chapter 1.4), one patch. */
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

/** Whether the twin shows everything of `patch` already: then sending it again would only cost a message. */
export function shows(reported: unknown, patch: unknown): boolean {
  if (typeof patch !== 'object' || patch === null) return Object.is(reported, patch)
  if (typeof reported !== 'object' || reported === null) return false
  const have = reported as Record<string, unknown>
  return Object.entries(patch).every(([key, value]) => (value === null ? !(key in have) : shows(have[key], value)))
}

/** At most `bytes` of UTF-8, without a broken character at the end. */
export function cut(text: string, bytes: number): string {
  const whole = Buffer.from(text)
  if (whole.length <= bytes) return text
  return `${whole
    .subarray(0, bytes - 3)
    .toString()
    .replace(/\uFFFD+$/, '')}…`
}
