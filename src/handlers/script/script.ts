import type { FileEntity, InlineStep, ScriptWork, Verified, WorkPlan } from '../../domain/deployment.ts'
import { AgentError } from '../../domain/errors.ts'
import type { ErrorCode } from '../../domain/result-codes.ts'
import { type Capabilities, STEP_SETTINGS } from '../capabilities.ts'
import { distinctNames } from '../files.ts'
import type { StepHandler } from '../handler.ts'
import { property } from '../property.ts'

/**
 * `microsoft/script:1` (PROTOCOL.md, "Script contract"): `scriptFileName` names the script; the other files are for it. Errors
 * of `read`: AgentError `SCRIPT_NOT_ALLOWED`, `SCRIPT_NO_FILES`, `SCRIPT_NAME_MISSING`, `SCRIPT_FILE_UNKNOWN`,
 * `SCRIPT_PROPERTIES`, `NAME_UNSAFE`.
 */
export const script1: StepHandler<WorkPlan> = {
  read(step, device) {
    mustAllow(device)
    if (step.files.length === 0) throw new AgentError('SCRIPT_NO_FILES', 'the step has no files, so it has no script')
    const name = property(step, 'scriptFileName')
    if (!name) throw new AgentError('SCRIPT_NAME_MISSING', 'the step has no scriptFileName')
    return planOf(step, fileOf(step, 'scriptFileName', name, 'SCRIPT_FILE_UNKNOWN'))
  },
  needs: filesOf,
}

/**
 * `microsoft/swupdate:2` with `scriptFileName` (PROTOCOL.md, "Script contract"): the script does the A/B work, with the image
 * that `swuFileName` names. Errors: AgentError `SCRIPT_NOT_ALLOWED`, `SWU_SCRIPT_NAME_MISSING`, `SWU_FILE_NAME_MISSING`,
 * `SWU_SCRIPT_FILES`, `SWU_SCRIPT_UNKNOWN`, `SWU_FILE_UNKNOWN`, `SCRIPT_PROPERTIES`, `NAME_UNSAFE`.
 */
export function imageScript(step: InlineStep, device: Capabilities): WorkPlan {
  mustAllow(device)
  const name = property(step, 'scriptFileName')
  if (!name) throw new AgentError('SWU_SCRIPT_NAME_MISSING', 'scriptFileName is empty')
  const image = property(step, 'swuFileName')
  if (!image) throw new AgentError('SWU_FILE_NAME_MISSING', 'the step has no swuFileName')
  if (step.files.length < 2) {
    throw new AgentError('SWU_SCRIPT_FILES', `a script and an image are two files, the step has ${step.files.length}`)
  }
  const script = fileOf(step, 'scriptFileName', name, 'SWU_SCRIPT_UNKNOWN')
  const { fileName } = fileOf(step, 'swuFileName', image, 'SWU_FILE_UNKNOWN')
  return planOf(step, script, fileName)
}

/** The script first: it is needed to ask whether the step is installed. */
export function filesOf({ probe, payload }: WorkPlan): readonly Verified<FileEntity>[] {
  return [...probe, ...payload]
}

/** Where the script writes what it did: beside the step's files. */
export const resultFileOf = ({ swuFileName }: Pick<ScriptWork, 'swuFileName'>, action: string): string =>
  swuFileName === undefined ? `action_${action}_aduc_result.json` : 'aduc_result.json'

const RESULT_FILE = /^(action_[a-z-]+_)?aduc_result\.json$/

function mustAllow({ scripts }: Capabilities): void {
  if (scripts) return
  throw new AgentError(
    'SCRIPT_NOT_ALLOWED',
    `the step has a script, and this device runs none; to allow scripts, put "scripts": {"run": "on"} into ${STEP_SETTINGS}`,
  )
}

function fileOf(step: InlineStep, name: string, wanted: string, unknown: ErrorCode): Verified<FileEntity> {
  const file = step.files.find(({ fileName }) => fileName === wanted)
  if (!file) throw new AgentError(unknown, `${name} "${wanted.slice(0, 80)}" is not one of the step's files`)
  return file
}

function planOf(step: InlineStep, script: Verified<FileEntity>, swuFileName?: string): WorkPlan {
  distinctNames(step, RESULT_FILE)
  const criteria = word(step, 'installedCriteria')
  const given = word(step, 'arguments')
  return {
    kind: 'work',
    ...(criteria ? { installedCriteria: criteria } : {}),
    probe: [script],
    payload: step.files.filter(file => file !== script),
    work: {
      is: 'script',
      script,
      // Blanks alone separate the words, and there are no quotes: authors rely on it.
      arguments: given.split(' ').filter(each => each !== ''),
      apiVersion: apiVersionOf(step),
      ...(swuFileName === undefined ? {} : { swuFileName }),
    },
  }
}

function apiVersionOf(step: InlineStep): ScriptWork['apiVersion'] {
  const version = property(step, 'apiVersion') ?? '1.0'
  if (version === '1.0' || version === '1.1') return version
  throw new AgentError('SCRIPT_PROPERTIES', `apiVersion is "${version.slice(0, 20)}"; it must be "1.0" or "1.1"`)
}

/** The system passes no word of more than 128 KiB to a program, and none with NUL. */
const MAX_WORDS = 64 * 1024

function word(step: InlineStep, name: string): string {
  const text = property(step, name) ?? ''
  if (Buffer.byteLength(text) > MAX_WORDS) throw new AgentError('SCRIPT_PROPERTIES', `${name} is longer than 64 KiB`)
  if (text.includes('\0')) throw new AgentError('SCRIPT_PROPERTIES', `${name} has a NUL character`)
  return text
}
