import type { UpdateId, UpdateManifest } from '../../domain/deployment.ts'
import { AgentError, UsageError } from '../../domain/errors.ts'
import { isObject } from '../../domain/members.ts'
import { ercText } from '../../domain/result-codes.ts'
import { type Capabilities, IMAGES_ONLY, withProperties } from '../../handlers/capabilities.ts'
import { type Look, readStepsOn } from '../../handlers/read-steps-on.ts'
import { type Check, Checks } from '../../trust/checks.ts'
import { authenticity, type Evidence, judge, type Verdict } from '../../trust/judge.ts'
import { type Anchors, type RootKeyPackage, readRootKeyPackage } from '../../trust/root-key-package.ts'
import { ringOf } from '../../trust/root-keys.ts'
import { otherPattern, packageUrlOf, readService, type Service } from '../../trust/service.ts'
import type { Terms } from '../../trust/terms.ts'
import { type DeviceFacts, planned } from './plan.ts'
import { wouldDo } from './steps.ts'

/** What a deployment is checked against. The package URL in the twin is never fetched. */
export interface Circumstances extends Omit<Terms, 'ring'> {
  readonly anchors: Anchors
  readonly rootKeyPackage: Buffer | undefined
  /** Content of the files that a mini manifest and reference steps name, in any order. */
  readonly detached: readonly Buffer[]
  /** What the device lets steps do, as for the agent's verifier. */
  readonly images?: Capabilities
  readonly look?: Look
  /** Undefined: no particular device. */
  readonly device: DeviceFacts | undefined
}

export interface Explanation {
  /** Whether signatures and hash are right. A cancel is unsigned and never authentic. */
  readonly authentic: boolean
  readonly verdict: 'accept' | 'refuse' | 'ignore'
  readonly manifestVersion: string | null
  readonly updateId: Evidence['updateId'] | null
  readonly rootKey: string | null
  readonly signingKey: string | null
  readonly extendedResultCode: string
  readonly reason: string
  readonly steps: readonly StepFacts[]
  readonly checks: readonly Check[]
}

/**
 * What the agent would do with the deployment in `document`: a whole twin, desired properties or a patch of them, or only the
 * `service` object. The agent's own code decides. Errors: UsageError when `document` cannot contain a deployment.
 */
export async function explain(document: unknown, circumstances: Circumstances): Promise<Explanation> {
  const sent = serviceIn(document)
  if (typeof sent === 'string') return ignored('DEPLOYMENT_MALFORMED', sent, NOTHING)
  const { service, ignored: why } = readService(sent)
  const bare = ringOf(circumstances.anchors, undefined)
  if (!service) {
    const evidence = authenticity(sent, bare)
    const note: Check = { name: 'action', outcome: 'fail', detail: why?.message ?? '' }
    return ignored(why?.code ?? 'DEPLOYMENT_MALFORMED', why?.message ?? '', {
      ...evidence,
      checks: [note, ...evidence.checks],
    })
  }
  const checks = new Checks()
  const keys = packageFor(service, circumstances, checks)
  const terms = { ...circumstances, ring: ringOf(circumstances.anchors, keys.newest) }
  const { detached } = circumstances
  let verdict = judge(service, terms, keys.failure ? { failure: keys.failure } : { detached })
  const { needs } = verdict
  if (needs && verdict.evidence.known < detached.length) verdict = judge(service, terms, { failure: unlike(needs) })
  let { evidence } = verdict
  const steps = new Checks()
  const { images = IMAGES_ONLY, look } = circumstances
  const atMost = withProperties(images, terms)
  const deployment = verdict.judged && (await readStepsOn(verdict.judged, terms.hosts, steps, atMost, look, NEVER))
  if (!evidence.authentic) {
    // The verdict may come before signature and hash are checked, but their result is shown as well.
    const { checks: _, ...facts } = authenticity(sent, keys.failure ? bare : terms.ring)
    evidence = { ...facts, checks: evidence.checks }
  }
  const list = [...evidence.checks.slice(0, 2), ...checks.list, ...evidence.checks.slice(2), ...steps.list]
  const base = { ...factsOf(evidence), checks: list }
  if (!deployment) {
    const reason = `the agent would first fetch ${namesOf(needs)} and check it; give it with --detached-manifest`
    return { ...base, verdict: 'accept', extendedResultCode: ercText(0), reason }
  }
  if (deployment.kind === 'refuse') {
    const { extendedResultCode, message } = deployment.error
    return { ...base, verdict: 'refuse', extendedResultCode: ercText(extendedResultCode), reason: message }
  }
  if (deployment.kind === 'cancel') {
    const reason =
      'the agent would cancel the unfinished deployment; a cancel needs no signature, because it can only stop work'
    return { ...base, verdict: 'accept', extendedResultCode: ercText(0), reason }
  }
  const { device } = circumstances
  if (!device) {
    const reason = `the agent would ${wouldDo(deployment)}`
    return { ...base, verdict: 'accept', extendedResultCode: ercText(0), reason }
  }
  return { ...base, ...planned(deployment, device, list) }
}

export interface PackageExplanation {
  readonly authentic: boolean
  readonly verdict: 'accept' | 'refuse'
  readonly version: number | null
  readonly published: number | null
  readonly isTest: boolean | null
  readonly rootKeys: readonly string[]
  readonly disabledRootKeys: readonly string[]
  readonly disabledSigningKeys: number
  readonly extendedResultCode: string
  readonly reason: string
}

/** What the agent would do with a root key package alone. */
export function explainPackage(bytes: Buffer, anchors: Anchors): PackageExplanation {
  try {
    const { version, published, isTest, rootKeys, disabledRootKeys, disabledSigningKeys } = readRootKeyPackage(
      bytes,
      anchors,
    )
    return {
      ...{ authentic: true, verdict: 'accept', version, published, isTest },
      rootKeys: rootKeys.map(({ kid }) => kid),
      disabledRootKeys,
      disabledSigningKeys: disabledSigningKeys.length,
      extendedResultCode: ercText(0),
      reason: 'signed by every key that must sign it; a device takes it unless it knows a newer one',
    }
  } catch (error) {
    const { code, extendedResultCode, message } = expected(error)
    return {
      // A package refused with this code has valid signatures.
      ...{ authentic: code === 'PACKAGE_IS_TEST', verdict: 'refuse', version: null, published: null, isTest: null },
      ...{ rootKeys: [], disabledRootKeys: [], disabledSigningKeys: 0 },
      extendedResultCode: ercText(extendedResultCode),
      reason: message,
    }
  }
}

/** The `service` object as sent, or a text that says why a twin has none. Errors: UsageError for another document. */
function serviceIn(document: unknown): Record<string, unknown> | string {
  if (!isObject(document)) throw new UsageError('the document is not a JSON object')
  const twin = isObject(document.properties) ? document.properties : document
  const desired = isObject(twin.desired) ? twin.desired : twin
  const component = isObject(desired.deviceUpdate) ? desired.deviceUpdate : desired
  if (isObject(component.service)) return component.service
  const hint = otherPattern(desired)
  if (hint !== undefined) return hint
  const known = ['workflow', 'updateManifest', 'updateManifestSignature', 'fileUrls']
  if (known.some(key => Object.hasOwn(document, key))) return document
  if (['properties', 'desired', 'deviceUpdate', 'service', '$version'].some(key => Object.hasOwn(document, key))) {
    return 'the twin holds no deviceUpdate.service'
  }
  throw new UsageError('the document is not a twin, desired properties or a deviceUpdate.service object')
}

function packageFor(
  service: Service,
  { anchors, rootKeyPackage }: Circumstances,
  checks: Checks,
): { readonly newest?: RootKeyPackage; readonly failure?: AgentError } {
  if (service.action === 'cancel') return {}
  try {
    const url = packageUrlOf(service)
    if (rootKeyPackage) {
      const read = () => readRootKeyPackage(rootKeyPackage, anchors)
      return { newest: checks.run('root key package', read, ({ version }) => `version ${version}`) }
    }
    const none = url === undefined ? 'the deployment names none' : 'not fetched here; give it with --root-key-package'
    checks.note('root key package', 'skip', none)
    return {}
  } catch (error) {
    const failure = expected(error)
    if (!checks.list.length) checks.note('root key package', 'fail', failure.message)
    return { failure }
  }
}

const factsOf = ({ authentic, manifestVersion, updateId, rootKey, signingKey, steps = [] }: Evidence) => ({
  authentic,
  manifestVersion: manifestVersion ?? null,
  updateId: updateId ?? null,
  rootKey: rootKey ?? null,
  signingKey: signingKey ?? null,
  steps: steps.map(stepFacts),
})

/** A manifest step as shown, with files by name. */
type StepFacts =
  | { readonly handler: string; readonly files: readonly string[]; readonly handlerProperties: object }
  | {
      readonly type: 'reference'
      readonly child: string
      /** Once the child manifest is there. */
      readonly updateId?: UpdateId
      readonly compatibility?: UpdateManifest['compatibility']
      readonly steps?: readonly StepFacts[]
    }

function stepFacts(step: NonNullable<Evidence['steps']>[number]): StepFacts {
  if (step.type === 'reference') {
    const named = { type: step.type, child: step.file.fileName }
    if (!('child' in step)) return named
    const { updateId, compatibility, steps } = step.child
    return { ...named, updateId, compatibility, steps: steps.map(stepFacts) }
  }
  const { handler, files, handlerProperties } = step
  return { handler, files: files.map(({ fileName }) => fileName), handlerProperties }
}

/** What the agent would do, shortened where many components have a step each. */
function ignored(code: AgentError['code'], reason: string, evidence: Evidence): Explanation {
  const extendedResultCode = ercText(new AgentError(code, reason).extendedResultCode)
  return { ...factsOf(evidence), verdict: 'ignore', extendedResultCode, reason, checks: evidence.checks }
}

const NEVER = new AbortController().signal

const NOTHING: Evidence = { authentic: false, checks: [], known: 0 }

const namesOf = (needs: Verdict['needs'] = []): string =>
  `the detached manifest ${needs.map(({ file }) => file.fileName).join(', ')}`

const unlike = (needs: Verdict['needs']): AgentError =>
  new AgentError(
    'FILE_HASH',
    `a file was given that is not ${namesOf(needs)}: size or SHA-256 differ from the signed ones`,
  )

function expected(error: unknown): AgentError {
  if (error instanceof AgentError) return error
  throw error
}
