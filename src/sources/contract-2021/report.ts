import { type Attempt, type InstallResult, type ReachedPhase, runningUpdate } from '../../domain/attempt.ts'
import type { Reported } from '../../ports/hub.ts'
import { component, isFailure, updateIdText } from '../device-update/report.ts'
import type { Reporter } from '../reporter.ts'
import type { DeviceProperties } from '../twin-contract.ts'
import { COMPONENT } from './read.ts'

/** States on the wire; the started ones, 1, 3 and 5, are never sent (PROTOCOL.md, "Contract of 2021"). */
export const STATE = { idle: 0, downloaded: 2, installed: 4, failed: 255 } as const

const REACHED: Readonly<Record<ReachedPhase, number>> = { download: STATE.downloaded, install: STATE.installed }

/** As in HTTP. */
const SUCCESS = 200
const FAILURE = 500

const client = (value: object): Reported => component(COMPONENT, { client: value })

const success = (state: number) => ({ state, resultCode: SUCCESS, extendedResultCode: 0 })

/** How the attempt ended: state 255, or Idle. The update id is sent only after a success or a rollback. */
export function final(attempt: Pick<Attempt, 'updateId'>, result: InstallResult): Reported {
  const [code = 0] = result.extendedResultCodes
  const running = runningUpdate(attempt, result)
  const installed = running === undefined ? {} : { installedUpdateId: updateIdText(running) }
  if (isFailure(result)) {
    // The field is a signed number of 32 bits.
    return client({ state: STATE.failed, resultCode: FAILURE, extendedResultCode: code | 0, ...installed })
  }
  return client({ ...success(STATE.idle), ...installed })
}

export const contract2021Reporter: Reporter = {
  hold: 0,
  stage: () => undefined,
  phase: (_, phase) => client(success(REACHED[phase])),
  final,
  // It has no free text.
  reduced: final,
}

export const startup = (
  { manufacturer, model, agentVersion }: DeviceProperties,
  information: Readonly<Record<string, string | number>>,
  isNew: boolean,
): Reported => {
  const deviceProperties = { manufacturer, model, aduVer: `DU;agent/${agentVersion}` }
  return {
    ...client({ ...(isNew ? success(STATE.idle) : {}), deviceProperties }),
    ...component('deviceInformation', information),
  }
}

export const acknowledgement = (action: unknown, version: number): Reported =>
  component(COMPONENT, { service: { value: action, ac: 200, ad: '', av: version } })
