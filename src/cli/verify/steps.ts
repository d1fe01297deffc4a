import type { Deploy, PlannedStep } from '../../domain/deployment.ts'

/** Steps that are named. */
const SHOWN = 6

/** What the agent would do for a deployment, in words that follow "the agent would". */
export function wouldDo({ plans }: Pick<Deploy, 'plans'>): string {
  const [{ plan }] = plans
  if (plans.length === 1 && plan.kind === 'image') {
    return `install ${plan.bundle.fileName}, unless the system is "${plan.installedCriteria}" already`
  }
  const names = plans.map(nameOf)
  const hidden = names.length - SHOWN
  return `carry out ${names.slice(0, SHOWN).join(', then ')}${hidden > 0 ? `, and ${hidden} more` : ''}`
}

function nameOf({ path, handler, component, plan }: PlannedStep): string {
  const who = component ? ` for the component "${component.name}"` : ''
  return plan.kind === 'nothing' ? `nothing for step ${path.join('.')}` : `${handler} (step ${path.join('.')}${who})`
}
