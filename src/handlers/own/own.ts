import type { InlineStep, WorkPlan } from '../../domain/deployment.ts'
import { distinctNames } from '../files.ts'
import type { StepHandler } from '../handler.ts'
import { property } from '../property.ts'
import { filesOf } from '../script/script.ts'

/**
 * The name of the file of an owner's handler: `contoso/flasher:3` is `contoso_flasher_3`. As in the reference agent, every
 * character but letters, digits and `-` becomes `_`.
 */
export const handlerFileOf = (id: string): string => id.replaceAll(/[^A-Za-z0-9-]/g, '_')

/**
 * A handler of the device's owner: an executable on the device. It alone knows what the properties mean. Errors of `read`:
 * AgentError `NAME_UNSAFE`, `MANIFEST_BAD`.
 */
export const ownHandler: StepHandler<WorkPlan> = { read: planOf, needs: filesOf }

function planOf(step: InlineStep): WorkPlan {
  distinctNames(step)
  const criteria = property(step, 'installedCriteria')
  return {
    kind: 'work',
    ...(criteria ? { installedCriteria: criteria } : {}),
    // The executable is on the device: it can say whether the step is installed without any file of the step.
    probe: [],
    payload: step.files,
    work: { is: 'own', handler: step.handler, properties: step.handlerProperties },
  }
}
