import type { FileEntity, ImagePlan, InlineStep, Verified, WorkPlan } from '../../domain/deployment.ts'
import { AgentError } from '../../domain/errors.ts'
import type { Capabilities } from '../capabilities.ts'
import type { StepHandler } from '../handler.ts'
import { property } from '../property.ts'
import { filesOf, imageScript } from '../script/script.ts'

/**
 * `microsoft/swupdate:1`, and the flat manifests of versions 1 and 2 (PROTOCOL.md, "Handler properties"): the step's one file
 * is the bundle. Errors of `read`: AgentError `SWU_FILE_COUNT`, `CRITERIA_MISSING`; `HANDLER_UNKNOWN` on a device without slots.
 */
export const swupdate1: StepHandler<ImagePlan> = { read: (step, device) => planOf(step, device, onlyFile), needs }

/**
 * `microsoft/swupdate:2` (PROTOCOL.md, "Handler properties"): `swuFileName` names the bundle. This agent does the A/B work
 * itself. With `scriptFileName` the step is work for that script. Errors of `read`: AgentError `SWU_FILE_NAME_MISSING`,
 * `SWU_FILE_UNKNOWN`, `CRITERIA_MISSING`, `HANDLER_UNKNOWN` on a device without slots, and those of `imageScript`.
 */
export const swupdate2: StepHandler<ImagePlan | WorkPlan> = {
  read: (step, device) =>
    property(step, 'scriptFileName') === undefined ? planOf(step, device, namedFile) : imageScript(step, device),
  needs: plan => (plan.kind === 'image' ? needs(plan) : filesOf(plan)),
}

function planOf(
  step: InlineStep,
  { images }: Capabilities,
  bundleOf: (step: InlineStep) => Verified<FileEntity>,
): ImagePlan {
  if (!images) {
    throw new AgentError(
      'HANDLER_UNKNOWN',
      'this device has no A/B slots and takes no images: send packages or scripts',
    )
  }
  const bundle = bundleOf(step)
  const installedCriteria = property(step, 'installedCriteria')
  if (!installedCriteria) throw new AgentError('CRITERIA_MISSING', 'the step has no installedCriteria')
  return { kind: 'image', installedCriteria, bundle }
}

function needs({ bundle }: ImagePlan): readonly Verified<FileEntity>[] {
  return [bundle]
}

function onlyFile(step: InlineStep): Verified<FileEntity> {
  const [file] = step.files
  if (!file || step.files.length !== 1) {
    throw new AgentError('SWU_FILE_COUNT', `${step.handler} takes exactly one file, the step has ${step.files.length}`)
  }
  return file
}

function namedFile(step: InlineStep): Verified<FileEntity> {
  const wanted = property(step, 'swuFileName')
  if (!wanted) throw new AgentError('SWU_FILE_NAME_MISSING', 'the step has no swuFileName')
  const file = step.files.find(each => each.fileName === wanted)
  if (!file)
    throw new AgentError('SWU_FILE_UNKNOWN', `swuFileName "${wanted.slice(0, 80)}" is not one of the step's files`)
  return file
}
