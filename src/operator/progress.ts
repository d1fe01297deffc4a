/** Where an update is, as the twin shows it: of the method, or of a deployment of Device Update. */
export interface Progress {
  readonly pattern: 'firmwareUpdate' | 'deviceUpdate'
  /** In the words of the pattern. */
  readonly stage: string
  readonly phase: 'rest' | 'running' | 'succeeded' | 'failed'
  /** Per cent of the download. */
  readonly percent?: number
  /** What it is about: a URI, or a workflow id. */
  readonly subject?: string
  /** Why it failed, and what else the device says. */
  readonly details?: string
  /** Name → time as the device gave it. */
  readonly times: Readonly<Record<string, string>>
}

const FAILED = ['downloadFailed', 'downloadfailed', 'applyFailed', 'rolledBack']
const TIMES = ['startedWaitingTime', 'downloadCompleteTime', 'startedApplyingImage', 'lastFirmwareUpdate']

/** `iothubDM.firmwareUpdate`; undefined when the device never showed any. */
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
  if (state === 6) return { ...found, stage: 'in progress', phase: 'running' }
  if (state === 255) return { ...found, stage: `failed (result ${resultCode})`, phase: 'failed' }
  if (resultCode === 700) return { ...found, stage: 'applied', phase: 'succeeded' }
  return { ...found, stage: resultCode === -1 ? 'cancelled' : `idle (result ${resultCode})`, phase: 'rest' }
}

/** When the hub took the newest `startedWaitingTime`: by the hub's clock, which all devices share. */
export function startedAt(reported: unknown): number | undefined {
  const path = ['$metadata', 'iothubDM', 'firmwareUpdate', 'startedWaitingTime', '$lastUpdated']
  const time = text(path.reduce<unknown>(member, reported))
  return time === undefined ? undefined : Date.parse(time)
}

function member(value: unknown, key: string): unknown {
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value)
  return isObject && Object.hasOwn(value, key) ? (value as Record<string, unknown>)[key] : undefined
}

const text = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined)
