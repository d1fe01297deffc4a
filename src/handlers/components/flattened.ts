import type { Component, InlineStep, ManifestStep, ReferenceStep } from '../../domain/deployment.ts'
import { AgentError } from '../../domain/errors.ts'
import type { Capabilities } from '../capabilities.ts'
import { targetsOf } from './targets.ts'

/** A step as it is carried out, in order: those of a child manifest once for each component. */
export type Entry =
  | { readonly path: readonly number[]; readonly step: InlineStep; readonly component?: Component }
  /** A reference step that is for nobody here. */
  | { readonly path: readonly number[]; readonly nobody: string }

/** As the reference agent names the handler of reference steps. */
export const REFERENCE_HANDLER = 'microsoft/steps:1'

/** Each has a record in the journal, which is written before and after each of them. */
export const MAX_STEPS = 128

/**
 * The tree of a manifest as a list: all steps of a child for the first component, then all for the next. Errors: AgentError
 * `TOO_MANY_STEPS`, and those of `targetsOf`.
 */
export function flattened(steps: readonly ManifestStep[], device: Capabilities): readonly Entry[] {
  const entries = steps.flatMap((step, index): readonly Entry[] =>
    step.type === 'inline' ? [{ path: [index], step }] : below(step, index, device),
  )
  if (entries.length <= MAX_STEPS) return entries
  const message = `the update has ${entries.length} steps for the components of this device, and at most ${MAX_STEPS} are taken`
  throw new AgentError('TOO_MANY_STEPS', message)
}

function below(reference: ReferenceStep, index: number, device: Capabilities): readonly Entry[] {
  const targets = orWithPlace(index, () => targetsOf(reference, device))
  if (targets !== 'host' && 'nobody' in targets) return [{ path: [index], nobody: targets.nobody }]
  const each = (step: InlineStep, at: number) => ({ path: [index, at], step })
  if (targets === 'host') return reference.child.steps.map(each)
  return targets.components.flatMap(component =>
    reference.child.steps.map((step, at) => ({ ...each(step, at), component })),
  )
}

function orWithPlace<T>(index: number, work: () => T): T {
  try {
    return work()
  } catch (cause) {
    if (!(cause instanceof AgentError)) throw cause
    throw new AgentError(cause.code, `step ${index}: ${cause.message}`, { cause })
  }
}

/** As error messages name it. */
export function nameOf({
  path,
  component,
}: {
  readonly path: readonly number[]
  readonly component?: Component
}): string {
  return `step ${path.join('.')}${component ? ` for the component "${component.name}"` : ''}`
}
