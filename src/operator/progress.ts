import { member, text } from '../domain/members.ts'
import { ownState } from './own-state.ts'

/** The progress of an update as the twin shows it: from the method, or from a deployment. */
export interface Progress {
  readonly pattern: 'firmwareUpdate' | 'deviceUpdate' | 'azureDeviceUpdateAgent'
  /** In the words of the pattern. */
  readonly stage: string
  readonly phase: 'rest' | 'running' | 'succeeded' | 'failed'
  /** Percent of the download. */
  readonly percent?: number
  /** A URI or a workflow id. */
  readonly subject?: string
  /** Why it failed, and other details from the device. */
  readonly details?: string
  /** Name → time as the device gave it. */
  readonly times: Readonly<Record<string, string>>
}

const FAILED = ['downloadFailed', 'downloadfailed', 'applyFailed', 'rolledBack']
const TIMES = ['startedWaitingTime', 'downloadCompleteTime', 'startedApplyingImage', 'lastFirmwareUpdate']

/** `iothubDM.firmwareUpdate`; undefined when the device never reported one. */
export function firmwareProgress(reported: unknown): Progress | undefined {
  const shown = member(member(reported, 'iothubDM'), 'firmwareUpdate')
  const stage = text(member(shown, 'status'))
  if (stage === undefined) return undefined
  const percent = member(shown, 'progress')
  const subject = text(member(shown, 'fwPackageUri'))
  const error = member(shown, 'error')
  const message = text(member(error, 'message'))
  const code = member(error, 'code')
  const times = TIMES.flatMap(name => {
    const time = text(member(shown, name))
    return time === undefined ? [] : [[name, time] as const]
  })
  return {
    pattern: 'firmwareUpdate',
    stage,
    phase: stage === 'applyComplete' ? 'succeeded' : FAILED.includes(stage) ? 'failed' : 'running',
    ...(typeof percent === 'number' ? { percent } : {}),
    ...(subject === undefined ? {} : { subject }),
    ...(message === undefined ? {} : { details: message.includes(String(code)) ? message : `${message} (${code})` }),
    times: Object.fromEntries(times),
  }
}

/** `deviceUpdate`, from both sides of the twin; undefined when there never was a deployment. */
export function deploymentProgress(desired: unknown, reported: unknown): Progress | undefined {
  const wanted = member(member(member(desired, 'deviceUpdate'), 'service'), 'workflow')
  const agent = member(member(reported, 'deviceUpdate'), 'agent')
  const done = member(agent, 'workflow')
  const base = { pattern: 'deviceUpdate', times: {} } as const
  const wantedId = text(member(wanted, 'id'))
  const same = wantedId === member(done, 'id') && member(wanted, 'retryTimestamp') === member(done, 'retryTimestamp')
  if (wantedId !== undefined && member(wanted, 'action') === 3 && !same) {
    return { ...base, stage: 'ordered', phase: 'running', subject: wantedId }
  }
  const subject = text(member(done, 'id'))
  if (subject === undefined) return undefined
  const result = member(agent, 'lastInstallResult')
  const resultCode = member(result, 'resultCode')
  const details = [text(member(result, 'resultDetails')), text(member(result, 'extendedResultCodes'))]
  const said = details[0] || (details[1] === '00000000' ? undefined : details[1])
  const state = member(agent, 'state')
  const found = { ...base, subject, ...(said === undefined ? {} : { details: said }) }
  if (state === 6) return running(found, reported)
  if (state === 255) return { ...found, stage: `failed (result ${resultCode})`, phase: 'failed' }
  if (resultCode === 700) return { ...found, stage: 'applied', phase: 'succeeded' }
  return { ...found, stage: resultCode === -1 ? 'cancelled' : `idle (result ${resultCode})`, phase: 'rest' }
}

/** With what the agent says of itself: `installing`, `waiting`, … */
function running(found: Omit<Progress, 'stage' | 'phase'>, reported: unknown): Progress {
  const own = ownState(reported)
  return {
    ...found,
    stage: own && own.phase !== 'idle' ? own.phase : 'in progress',
    phase: 'running',
    ...(own?.percent === undefined ? {} : { percent: own.percent }),
    ...(own?.waits === undefined ? {} : { details: own.waits }),
  }
}

/** Phases of the contract of 2021, by what the cloud orders: in words, and the state that shows its end. */
const PHASES_2021 = [
  { doing: 'downloading', done: 'downloaded', state: 2 },
  { doing: 'installing', done: 'installed', state: 4 },
  { doing: 'applying', done: 'applied', state: 0 },
] as const

/** `azureDeviceUpdateAgent`, the contract of 2021; undefined when nothing was ever ordered through it. */
export function progress2021(desired: unknown, reported: unknown): Progress | undefined {
  const component = member(reported, 'azureDeviceUpdateAgent')
  const action = member(member(member(desired, 'azureDeviceUpdateAgent'), 'service'), 'action')
  const client = member(component, 'client')
  const [state, code] = ['state', 'extendedResultCode'].map(name => member(client, name))
  if (typeof action !== 'number' || state === undefined) return undefined
  const base = { pattern: 'azureDeviceUpdateAgent', times: {} } as const
  if (state === 255) {
    const details =
      typeof code === 'number' ? { details: (code >>> 0).toString(16).toUpperCase().padStart(8, '0') } : {}
    return { ...base, ...details, stage: 'failed', phase: 'failed' }
  }
  const ordered = PHASES_2021[action]
  if (!ordered) return { ...base, stage: action === 255 && state === 0 ? 'cancelled' : 'cancelling', phase: 'rest' }
  // The agent acknowledges an order before it begins.
  const isDone = state === ordered.state && member(member(component, 'service'), 'value') === action
  if (!isDone) return { ...running(base, reported), stage: ordered.doing }
  return { ...base, stage: ordered.done, phase: action === 2 ? 'succeeded' : 'running' }
}

/** When the hub received the newest `startedWaitingTime`, by the hub's clock, which all devices share. */
export function startedAt(reported: unknown): number | undefined {
  const path = ['$metadata', 'iothubDM', 'firmwareUpdate', 'startedWaitingTime', '$lastUpdated']
  const time = text(path.reduce<unknown>(member, reported))
  return time === undefined ? undefined : Date.parse(time)
}
