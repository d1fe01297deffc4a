import { AgentError, UsageError } from './domain/errors.ts'
import { ercText } from './domain/result-codes.ts'
import { type Check, Checks } from './trust/checks.ts'
import { gateWhole } from './trust/gate.ts'
import { authenticity, type Evidence, type Fetched, judge, type Terms } from './trust/order.ts'
import { type Anchors, type RootKeyPackage, readRootKeyPackage } from './trust/root-key-package.ts'
import { ringOf } from './trust/root-keys.ts'
import { isObject, packageUrlOf, readService, type Service } from './trust/service.ts'
import { compareVersions } from './workflow/downgrade.ts'

/** What an order is held against when a person asks; the twin's own address of a package is never fetched from. */
export interface Circumstances extends Omit<Terms, 'ring'> {
  readonly anchors: Anchors
  readonly rootKeyPackage: Buffer | undefined
  /** Content of the file that a mini manifest names. */
  readonly detached: Buffer | undefined
  /** The lowest version that may be installed. */
  readonly lowest: string | undefined
}

export interface Explanation {
  /** Speaks of signatures and hash alone. A cancel is unsigned and never authentic. */
  readonly authentic: boolean
  readonly verdict: 'accept' | 'refuse' | 'ignore'
  readonly manifestVersion: string | null
  readonly updateId: Evidence['updateId'] | null
  readonly rootKey: string | null
  readonly signingKey: string | null
  readonly extendedResultCode: string
  readonly reason: string
  readonly steps: readonly { handler: string; files: readonly string[]; handlerProperties: object }[]
  readonly checks: readonly Check[]
}

/**
 * What the agent would do about the order in `document`: a whole twin, desired properties or a patch of them, or the bare
 * `service` object. The code that decides is the agent's own. Errors: UsageError when there is no order to look for.
 */
export async function explain(document: unknown, circumstances: Circumstances): Promise<Explanation> {
  const sent = serviceIn(document)
  if (sent === undefined) return ignored('ORDER_MALFORMED', 'the twin holds no deviceUpdate.service', NOTHING)
  const { service, ignored: why } = readService(sent)
  const bare = ringOf(circumstances.anchors, undefined)
  if (!service) {
    const evidence = authenticity(sent, bare)
    const note: Check = { name: 'action', outcome: 'fail', detail: why?.message ?? '' }
    return ignored(why?.code ?? 'ORDER_MALFORMED', why?.message ?? '', {
      ...evidence,
      checks: [note, ...evidence.checks],
    })
  }
  const checks = new Checks()
  const keys = packageFor(service, circumstances, checks)
  const terms = { ...circumstances, ring: ringOf(circumstances.anchors, keys.newest) }
  const fetched: Fetched = keys.failure ? { failure: keys.failure } : {}
  let verdict = judge(service, terms, fetched)
  const { needs } = verdict
  if (needs && circumstances.detached) {
    const more = await gateWhole(once(circumstances.detached), needs.file).then(
      detached => ({ detached }),
      error => ({ failure: expected(error) }),
    )
    verdict = judge(service, terms, more)
  }
  let { evidence, order } = verdict
  if (!evidence.authentic) {
    // The verdict may have come before signature and hash, but these have an answer of their own.
    const { checks: _, ...facts } = authenticity(sent, keys.failure ? bare : terms.ring)
    evidence = { ...facts, checks: evidence.checks }
  }
  const list = [...evidence.checks.slice(0, 2), ...checks.list, ...evidence.checks.slice(2)]
  const base = { ...factsOf(evidence), checks: list }
  if (!order) {
    const reason = `the agent would first fetch the detached manifest ${needs?.file.fileName} and check it; give it with --detached-manifest`
    return { ...base, verdict: 'accept', extendedResultCode: ercText(0), reason }
  }
  if (order.kind === 'deploy' && circumstances.lowest !== undefined) {
    const version = order.update.updateId.version
    const why = `version ${version}; this device takes nothing older than ${circumstances.lowest}`
    const tooOld = compareVersions(version, circumstances.lowest) < 0
    list.push({ name: 'downgrade', outcome: tooOld ? 'fail' : 'pass', detail: why })
    if (tooOld) order = { ...order, kind: 'refuse', error: new AgentError('DOWNGRADE', why) }
  }
  if (order.kind === 'refuse') {
    const { extendedResultCode, message } = order.error
    return { ...base, verdict: 'refuse', extendedResultCode: ercText(extendedResultCode), reason: message }
  }
  const reason =
    order.kind === 'cancel'
      ? 'the agent would cancel what it has not finished; a cancel needs no signature, it can only stop work'
      : `the agent would install ${order.update.bundle.fileName}, unless the system is "${order.update.installedCriteria}" already`
  return { ...base, verdict: 'accept', extendedResultCode: ercText(0), reason }
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

/** The same for a root key package alone. */
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
      // Its signatures were found right before this could be said.
      ...{ authentic: code === 'PACKAGE_IS_TEST', verdict: 'refuse', version: null, published: null, isTest: null },
      ...{ rootKeys: [], disabledRootKeys: [], disabledSigningKeys: 0 },
      extendedResultCode: ercText(extendedResultCode),
      reason: message,
    }
  }
}

/** The `service` object as sent; undefined when the document is one of a twin, and has none. */
function serviceIn(document: unknown): Record<string, unknown> | undefined {
  if (!isObject(document)) throw new UsageError('the document is not a JSON object')
  const twin = isObject(document.properties) ? document.properties : document
  const desired = isObject(twin.desired) ? twin.desired : twin
  const component = isObject(desired.deviceUpdate) ? desired.deviceUpdate : desired
  if (isObject(component.service)) return component.service
  const known = ['workflow', 'updateManifest', 'updateManifestSignature', 'fileUrls']
  if (known.some(key => Object.hasOwn(document, key))) return document
  if (['properties', 'desired', 'deviceUpdate', 'service', '$version'].some(key => Object.hasOwn(document, key))) {
    return undefined
  }
  throw new UsageError('the document is no twin, no desired properties, and no deviceUpdate.service')
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
    const none = url === undefined ? 'the order names none' : 'not fetched here; give it with --root-key-package'
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
  steps: steps.map(({ handler, files, handlerProperties }) => ({
    handler,
    files: files.map(({ fileName }) => fileName),
    handlerProperties,
  })),
})

function ignored(code: AgentError['code'], reason: string, evidence: Evidence): Explanation {
  const extendedResultCode = ercText(new AgentError(code, reason).extendedResultCode)
  return { ...factsOf(evidence), verdict: 'ignore', extendedResultCode, reason, checks: evidence.checks }
}

const NOTHING: Evidence = { authentic: false, checks: [] }

async function* once(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes
}

function expected(error: unknown): AgentError {
  if (error instanceof AgentError) return error
  throw error
}
