import { AgentError } from '../../domain/errors.ts'
import type { Steps } from '../../ports/steps.ts'

/** A device without a step service: it takes images only. */
export const noSteps: Steps = {
  run: async () => {
    throw new AgentError('STEP_SERVICE', 'this device has no step service, so it takes system images only')
  },
}
