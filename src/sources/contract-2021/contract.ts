import type { TwinContract } from '../twin-contract.ts'
import { readOrder } from './read.ts'
import { acknowledgement, contract2021Reporter, final, STATE, startup } from './report.ts'
import { workNames } from './work-names.ts'

/**
 * The contract of 2021: the cloud orders download, installation and application one by one, and waits for a report after each
 * (PROTOCOL.md, "Contract of 2021").
 */
export const contract2021: TwinContract = {
  modelId: 'dtmi:AzureDeviceUpdate;1',
  read: readOrder,
  naming: workNames,
  acknowledgement: ({ workflow = {} }, version) => acknowledgement(workflow, version),
  acknowledged(reported) {
    const { av } = shown(reported)?.service ?? {}
    return typeof av === 'number' ? av : undefined
  },
  startup(device, information, reported) {
    return startup(device, information, shown(reported)?.client?.state === undefined)
  },
  showsEnd: reported => () => shown(reported)?.client?.state === STATE.failed,
  reporter: contract2021Reporter,
  complaint: (_, result) => final({}, result),
}

const shown = (reported: unknown): Shown | undefined =>
  (reported as { readonly azureDeviceUpdateAgent?: Shown } | undefined)?.azureDeviceUpdateAgent

interface Shown {
  readonly client?: { readonly state?: unknown }
  readonly service?: { readonly av?: unknown }
}
