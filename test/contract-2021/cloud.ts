import { createHash } from 'node:crypto'
import { contract2021 } from '../../src/sources/contract-2021/contract.ts'
import { Orchestrator2021, type Order2021 } from '../bench/authoring/contract-2021.ts'
import { bundleOf, type Disturbance, FakeDevice, type System } from '../workflow/fake-device.ts'

export interface Manifest2021 {
  readonly manifestVersion?: string
  readonly updateType?: string
  readonly criteria?: string
}

/** An order for `system`, whose bundle is on the device's content server. */
export function orderFor(device: FakeDevice, system: System, more: Manifest2021 = {}): Order2021 {
  const { manifestVersion = '2.0', updateType = 'microsoft/swupdate:1', criteria = system.version } = more
  const bundle = bundleOf(system)
  const updateId = { provider: 'DuTest', name: 'DuTestUser', version: system.version }
  const manifest = JSON.stringify({
    ...{ manifestVersion, updateId, updateType, installedCriteria: criteria },
    files: {
      '00000': {
        fileName: 'image.swu',
        sizeInBytes: bundle.length,
        hashes: { sha256: createHash('sha256').update(bundle).digest('base64') },
      },
    },
    createdDateTime: '2020-06-12T00:38:13.9350278',
  })
  const fileUrls = { '00000': device.publish(system, `image-${system.version}.swu`) }
  return { updateId: JSON.stringify(updateId), manifest, signature: device.sign(manifest), fileUrls }
}

/** A device on the contract of 2021. */
export function newDevice(disturbances: readonly Disturbance[] = []): FakeDevice {
  const device = new FakeDevice(disturbances)
  device.contract = contract2021
  device.reporters = { ...device.reporters, deviceUpdate: contract2021.reporter }
  return device
}

/** The cloud that orders an update for `device`, phase by phase, from now on. */
export function cloudFor(device: FakeDevice, order: Order2021) {
  const cloud = new Orchestrator2021(order, patch => {
    device.patchDesired(patch)
    return device.desired.$version as number
  })
  const look = (): void => cloud.look(device.reported as never)
  look()
  device.onReported = () => void setImmediate(look)
  const hasEnded = (): boolean => cloud.end !== undefined && device.boot.trial !== 'pending' && device.journalReported
  return { device, cloud, hasEnded }
}

export function ordered(system: System, disturbances: readonly Disturbance[] = []) {
  const device = newDevice(disturbances)
  return cloudFor(device, orderFor(device, system))
}
