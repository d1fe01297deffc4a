import type { PlannedStep, SignedText, UpdateId, WorkPlan } from '../domain/deployment.ts'
import { AgentError, ConfigError } from '../domain/errors.ts'
import { type Capabilities, withProperties } from '../handlers/capabilities.ts'
import { readSteps } from '../handlers/read-steps.ts'
import type { StepOrder } from '../ports/steps.ts'
import { anchorsOf } from '../trust/anchors.ts'
import { Checks } from '../trust/checks.ts'
import { judge } from '../trust/judge.ts'
import type { KeyRing } from '../trust/keys.ts'
import type { Anchors } from '../trust/root-key-package.ts'
import type { Service } from '../trust/service.ts'
import type { StepSettings } from './settings.ts'

/** An order whose text was found to be signed, and the step that it names. */
export interface VerifiedOrder {
  readonly updateId: UpdateId
  readonly step: PlannedStep & { readonly plan: WorkPlan }
}

/** What this device lets be done, and whose signatures count: nothing of it comes from the agent. */
export interface ServiceTerms {
  readonly settings: StepSettings
  readonly ring: KeyRing
  /** Without its components. */
  readonly host: Capabilities
  /** With them. Asked only for a signed text that has a child manifest: a program of the owner may have to list them. */
  device(): Promise<Capabilities>
}

/** The built-in root keys and those of the settings. Errors: AgentError `STEP_SERVICE`. */
export function anchorsIn({ rootKeys }: StepSettings): Anchors {
  try {
    return anchorsOf(rootKeys)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    throw new AgentError('STEP_SERVICE', `the settings of the step service: ${error.message}`, { cause: error })
  }
}

/**
 * Verifies the order as the agent verifies a deployment, with the service's own terms. Errors: AgentError
 * with the code of the check that failed; those of `device`; `STEP_REFUSED` for a step that is not in the text, or is not the service's to do.
 */
export async function verifiedOrder(order: StepOrder, terms: ServiceTerms): Promise<VerifiedOrder> {
  const { settings, ring, host } = terms
  const service = serviceOf(order.signed)
  const trust = {
    ring,
    providers: settings.providers,
    properties: settings.properties,
    compatibility: settings.properties ? ('enforce' as const) : ('off' as const),
  }
  // Each is found by its signed hash.
  const detached = order.signed.detached.map(text => Buffer.from(text))
  const { judged } = judge(service, trust, { detached })
  if (!judged) throw refused('the signed text names a manifest that is not in the order')
  const hasChildren = judged.kind === 'deploy' && judged.manifest.steps.some(({ type }) => type === 'reference')
  const device = hasChildren ? await terms.device() : host
  const deployment = readSteps(judged, undefined, new Checks(), withProperties(device, trust))
  if (deployment.kind === 'refuse') throw deployment.error
  if (deployment.kind !== 'deploy') throw refused('the signed text is not a deployment')
  const step = deployment.plans.find(each => isNamed(each, order))
  if (!step) {
    const of = order.component ? ` of the component "${order.component.id}"` : ''
    throw refused(`the signed text has no step ${order.path.join('.')}${of}`)
  }
  const { plan } = step
  if (plan.kind === 'nothing') throw refused(`there is nothing to do: ${plan.why}`)
  if (plan.kind !== 'work') throw refused('the step is an image, which the agent writes by itself')
  return { updateId: deployment.manifest.updateId, step: { ...step, plan } }
}

const isNamed = ({ path, component }: PlannedStep, order: StepOrder): boolean =>
  path.join('.') === order.path.join('.') && component?.id === order.component?.id

/** The service downloads nothing, so any URL will do where the agent's checks want one. */
function serviceOf({ manifest, signature }: SignedText): Service {
  return {
    action: 'deploy',
    workflow: { action: 3, id: 'step' },
    updateManifest: manifest,
    updateManifestSignature: signature,
    fileUrls: ANY_URL,
    rootKeyPackageUrl: undefined,
  }
}

/** Has one for every file id. The texts are not verified yet, so nothing of them is parsed for it. */
const ANY_URL = new Proxy<Record<string, string>>(
  {},
  {
    get: () => 'https://unused.invalid/',
    getOwnPropertyDescriptor: () => ({ value: 'https://unused.invalid/', configurable: true, enumerable: true }),
  },
)

const refused = (why: string): AgentError => new AgentError('STEP_REFUSED', `the step service refuses: ${why}`)
