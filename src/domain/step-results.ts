import { RESULT_CODE } from './result-codes.ts'
import type { StepRecord, StepResult } from './step-record.ts'

/**
 * One result for each step of the manifest itself, in its order; undefined: not begun. Only these are reported (PROTOCOL.md, "Final
 * report"). Below a reference step there is a record for each component and step of the child: the first failure is the result of all
 * of them. If nothing had to be done anywhere, it was skipped. Otherwise it was done, and the details say what each part said.
 */
export function resultsByStep(steps: readonly StepRecord[]): readonly (StepResult | undefined)[] {
  const groups: StepRecord[][] = []
  for (const step of steps) {
    const at = step.path[0] ?? 0
    groups[at] = [...(groups[at] ?? []), step]
  }
  return Array.from(groups, (group = []) => combined(group))
}

function combined(group: readonly StepRecord[]): StepResult | undefined {
  const [first] = group
  if (group.length <= 1) return first?.result && named(first, first.result)
  const failed = group.find(({ state, result }) => state === 'failed' || (result && result.resultCode <= 0))
  if (failed) return failed.result && named(failed, failed.result)
  const results = group.flatMap(step => (step.result ? [named(step, step.result)] : []))
  const [one] = results
  // Whatever ended the list also ended this group before its end.
  if (!one || results.length < group.length) return undefined
  if (results.every(({ resultCode }) => resultCode === one.resultCode))
    return { ...one, resultDetails: joined(results) }
  const done = results.filter(({ resultCode }) => !isSkipped(resultCode))
  const resultCode = done.at(-1)?.resultCode ?? RESULT_CODE.installSkipped
  return { resultCode, extendedResultCode: 0, resultDetails: joined(results) }
}

const isSkipped = (code: number): boolean => code === RESULT_CODE.installSkipped || code === RESULT_CODE.noComponent

const joined = (results: readonly StepResult[]): string =>
  results.flatMap(({ resultDetails }) => resultDetails || []).join('; ')

/** With the place below the reference step, and the component. */
function named({ path, component }: StepRecord, result: StepResult): StepResult {
  // What the planner says of a step names it already.
  if (path.length <= 1 || !result.resultDetails || result.resultDetails.startsWith('step ')) return result
  const where = component === undefined ? `step ${path.join('.')}` : `component "${component}", step ${path.join('.')}`
  return { ...result, resultDetails: `${where}: ${result.resultDetails}` }
}
