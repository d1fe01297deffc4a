import type { Workflow } from '../../domain/deployment.ts'
import { readDesired } from '../../trust/service.ts'
import { isSameWork, type TwinContract } from '../twin-contract.ts'
import { acknowledgement, deviceUpdateReporter, final, installed, MODEL_ID, startup } from './report.ts'

/** The contract of today's Device Update: the twin asks for a whole deployment (PROTOCOL.md, "Twin contract"). */
export const deviceUpdateContract: TwinContract = {
  modelId: MODEL_ID,
  read: readDesired,
  acknowledgement: ({ workflow }, version) => acknowledgement(workflow, version),
  acknowledged(reported) {
    const { av } = (reported as Shown | undefined)?.deviceUpdate?.service ?? {}
    return typeof av === 'number' ? av : undefined
  },
  startup,
  showsEnd(reported) {
    const { state, workflow } = (reported as Shown | undefined)?.deviceUpdate?.agent ?? {}
    if ((state !== 0 && state !== 255) || !workflow) return () => false
    return other => isSameWork(other, workflow)
  },
  reporter: deviceUpdateReporter,
  installed,
  complaint: (workflow, result) => final({ workflow, steps: [] }, result),
}

interface Shown {
  readonly deviceUpdate?: {
    readonly agent?: { readonly state?: number; readonly workflow?: Workflow }
    readonly service?: { readonly av?: unknown }
  }
}
