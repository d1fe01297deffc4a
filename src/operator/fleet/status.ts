import { member, text } from '../../domain/members.ts'
import { connectionString, type LoginOptions } from '../connection.ts'
import { EXIT, Failure } from '../failure.ts'
import { HubService } from '../hub-service.ts'
import { print } from '../output.ts'
import { ownState } from '../own-state.ts'
import { deploymentProgress, firmwareProgress, type Progress, progress2021 } from '../progress.ts'
import { summary } from '../view.ts'

interface StatusOptions extends LoginOptions {
  readonly query?: string
  readonly json: boolean
}

/** `pi-adu-operator fleet --status`: the newest update of each device, and what its agent says of itself. Reads only. */
export async function fleetStatus({ query, json, ...login }: StatusOptions): Promise<void> {
  if (query === undefined) throw new Failure(EXIT.usage, '--query is missing')
  const hub = await HubService.open(await connectionString(login))
  const devices = (await hub.query(query)).map(statusOf)
  print(
    json,
    devices,
    devices.flatMap(({ deviceId, updates, own }) => {
      const [newest] = updates
      const rest = [own && !newest ? `· ${deviceId}  ${own.phase}${own.waits ? `: ${own.waits}` : ''}` : undefined]
      const line = newest
        ? summary(deviceId, newest)
        : (rest[0] ?? `· ${deviceId}  has never been updated through this hub`)
      return [line, ...(own?.lines ?? []).map(each => `    ${each}`)]
    }),
  )
}

/** A running update first, then one that has failed. */
function statusOf(twin: unknown) {
  const deviceId = text(member(twin, 'deviceId'))
  if (deviceId === undefined)
    throw new Failure(EXIT.usage, '--query gives no deviceId: begin it with SELECT * FROM devices')
  const [desired, reported] = ['desired', 'reported'].map(name => member(member(twin, 'properties'), name))
  const all = [deploymentProgress(desired, reported), progress2021(desired, reported), firmwareProgress(reported)]
  const order: readonly Progress['phase'][] = ['running', 'failed', 'succeeded', 'rest']
  const updates = all
    .filter(each => each !== undefined)
    .sort((one, two) => order.indexOf(one.phase) - order.indexOf(two.phase))
  return { deviceId, updates, own: ownState(reported) }
}
