import { type End2021, Orchestrator2021, type Order2021 } from './authoring/contract-2021.ts'
import type { startHub } from './hub/hub.ts'
import type { JsonObject } from './hub/json.ts'

type Hub = Pick<Awaited<ReturnType<typeof startHub>>, 'getTwin' | 'updateDesired' | 'onReported'>

/** An update that is being ordered phase by phase. */
export interface Orchestrated {
  readonly cloud: Orchestrator2021
  /** Resolves when the device is idle again; never rejects. */
  readonly ended: Promise<End2021>
  cancel(): void
  /** Orders nothing more, whatever the device reports. */
  stop(): void
}

/** Plays the service of 2021 for one device. `onOrder` is called with each action that is ordered. */
export function orchestrate(
  hub: Hub,
  id: string,
  order: Order2021,
  onOrder: (action: number) => void = () => {},
): Orchestrated {
  let end: (how: End2021) => void = () => {}
  const ended = new Promise<End2021>(resolve => {
    end = resolve
  })
  let shown: number | undefined
  const cloud = new Orchestrator2021(order, patch => hub.updateDesired(id, patch))
  const look = (reported: JsonObject): void => {
    cloud.look(reported)
    tell()
    if (cloud.end) {
      stop()
      end(cloud.end)
    }
  }
  const tell = (): void => {
    if (cloud.action === undefined || cloud.action === shown) return
    shown = cloud.action
    onOrder(shown)
  }
  const stop = hub.onReported((deviceId, _patch, reported) => {
    if (deviceId === id) look(reported)
  })
  look(hub.getTwin(id).properties.reported as JsonObject)
  return {
    cloud,
    ended,
    cancel() {
      cloud.cancel()
      tell()
    },
    stop,
  }
}
