import { leanMqtt } from '../../../src/adapters/iot-hub/lean-mqtt.ts'
import type { RootKey } from '../../../src/trust/root-keys.ts'
import { ControlPlane } from '../../bench/control-plane/control-plane.ts'

/** One process with many agents, started by `main.ts`; tells it of each download, and ends when told. */
export interface Orders {
  readonly connectionStrings: readonly string[]
  readonly hubCa: string
  readonly rootKeys: readonly RootKey[]
  readonly spread: number
}

process.once('message', (orders: Orders) => {
  leanMqtt()
  const { hubCa, rootKeys, spread } = orders
  const onDownload = (): void => void process.send?.('download')
  const devices = orders.connectionStrings.map(
    connectionString => new ControlPlane({ connectionString, hubCa, rootKeys, spread, onDownload }),
  )
  for (const device of devices) device.start()
  process.once('message', () => process.exit())
})
