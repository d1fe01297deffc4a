import type { WorkPlan } from '../../domain/deployment.ts'
import { AgentError } from '../../domain/errors.ts'
import { type Capabilities, STEP_SETTINGS } from '../capabilities.ts'
import type { StepHandler } from '../handler.ts'
import { property } from '../property.ts'
import { MAX_APT_MANIFEST_BYTES } from './apt-manifest.ts'

/**
 * `microsoft/apt:1`, also as the type of a flat manifest (PROTOCOL.md, "APT manifest"): the step's one file is the APT
 * manifest. The packages themselves come from the repositories that the device's owner has configured. Errors of `read`:
 * AgentError `HANDLER_UNKNOWN` where no packages can be installed (the reference's code for a handler that is not registered),
 * `APT_FILE_COUNT`, `APT_CRITERIA_MISSING`, `APT_MANIFEST_BAD`.
 */
export const apt1: StepHandler<WorkPlan> = {
  read(step, { packages }) {
    if (packages !== 'yes') {
      throw new AgentError('HANDLER_UNKNOWN', `this device installs no single packages, because ${WHY_NOT[packages]}`)
    }
    const [manifest, ...more] = step.files
    if (!manifest || more.length > 0) {
      throw new AgentError(
        'APT_FILE_COUNT',
        `${step.handler} takes exactly one file, the APT manifest; the step has ${step.files.length}`,
      )
    }
    const installedCriteria = property(step, 'installedCriteria')
    if (!installedCriteria) throw new AgentError('APT_CRITERIA_MISSING', 'the step has no installedCriteria')
    if (manifest.sizeInBytes > MAX_APT_MANIFEST_BYTES) {
      throw new AgentError('APT_MANIFEST_BAD', `the APT manifest is larger than ${MAX_APT_MANIFEST_BYTES} bytes`)
    }
    return { kind: 'work', installedCriteria, probe: [manifest], payload: [], work: { is: 'apt', manifest } }
  },
  needs: ({ probe, payload }) => [...probe, ...payload],
}

const WHY_NOT: Readonly<Record<Exclude<Capabilities['packages'], 'yes'>, string>> = {
  readOnlyRoot: 'its root file system is read-only: put them into the image',
  noApt: 'it has no apt-get: put them into the image',
  off: `"packages": {"run": "off"} is in ${STEP_SETTINGS}: set it to "on" there`,
}
