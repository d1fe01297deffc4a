import { createHash, timingSafeEqual } from 'node:crypto'
import type {
  Cancel,
  FileEntity,
  Named,
  Refusal,
  SignedText,
  UpdateId,
  UpdateManifest,
  Verified,
  Workflow,
} from '../domain/deployment.ts'
import { AgentError } from '../domain/errors.ts'
import type { Hosts } from '../domain/hosts.ts'
import { fromBase64, fromBase64url } from './base64.ts'
import { type Check, Checks } from './checks.ts'
import { childFilesOf, contentOf, MAX_DETACHED_BYTES, readDetached, withChildren } from './detached.ts'
import { payloadOf, type Signed, verifySignature } from './jws.ts'
import type { KeyRing } from './keys.ts'
import { checkFlat, isMini, parseManifest, type WrittenManifest } from './manifest.ts'
import { isSafeWorkflowId } from './names.ts'
import type { Service } from './service.ts'
import { checkCompatibility, checkProvider, type Terms } from './terms.ts'
import { urlOf } from './urls.ts'

/** What was fetched for a deployment so far. */
export interface Fetched {
  /** Content of the files that the verdicts asked for, in any order: each is found by its signed hash. */
  readonly detached?: readonly Buffer[]
  /** Fetching failed permanently. */
  readonly failure?: AgentError
  /** Extended result codes of soft failures. */
  readonly extraCodes?: readonly number[]
}

export interface Verdict {
  /** Undefined while something must be fetched first. */
  readonly judged?: Judged
  /** At most twice: the manifest of a mini manifest, then the child manifests. */
  readonly needs?: readonly Needed[]
  readonly evidence: Evidence
}

/** A file to fetch for the verdict. */
export interface Needed {
  readonly file: Verified<FileEntity>
  readonly url: string
}

/** What the twin asks for, verified; its steps are still to be read (`handlers/`). */
export type Judged =
  | (Named & {
      readonly kind: 'deploy'
      readonly manifest: Verified<UpdateManifest>
      readonly signed: SignedText
      /** As sent, unsigned. */
      readonly fileUrls: unknown
    })
  | Cancel
  | Refusal

/** What was found on the way, to explain the verdict. */
export interface Evidence {
  readonly checks: readonly Check[]
  /** Signatures and hash are right. Says nothing else. */
  readonly authentic: boolean
  readonly rootKey?: string
  readonly signingKey?: string
  readonly manifestVersion?: string
  readonly updateId?: UpdateId
  /** Without children as long as they are not fetched. */
  readonly steps?: WrittenManifest['steps'] | UpdateManifest['steps']
  /** How many of the fetched files the deployment names. */
  readonly known: number
  readonly createdDateTime?: string
}

/**
 * The only way from the twin to a verified manifest. Every failed check gives a `refuse` with its reason. Pure;
 * nothing in the twin can make it throw.
 */
export function judge(service: Service, terms: Terms, fetched: Fetched = {}): Verdict {
  const { workflow, action } = service
  const checks = new Checks()
  const ordered = service.allowed ?? '3, process deployment'
  checks.note('action', 'pass', action === 'deploy' ? ordered : '255, cancel')
  if (action === 'cancel') {
    const evidence = { checks: checks.list, authentic: false, known: 0 }
    return { judged: { kind: 'cancel', workflow, fingerprint: fingerprint(['cancel', workflow.id]) }, evidence }
  }
  return deployment(service, terms, fetched, checks)
}

function deployment(service: Service, terms: Terms, fetched: Fetched, checks: Checks): Verdict {
  const { workflow, allowed, updateManifest, updateManifestSignature, fileUrls } = service
  const { extraCodes = [], detached: files = [] } = fetched
  const base = { workflow, ...(allowed ? { allowed } : {}), fingerprint: fingerprintOf(service), extraCodes }
  const seen: Writable<Partial<Evidence>> = {}
  const detached: Verified<Buffer>[] = []
  const evidence = (): Evidence => ({
    ...seen,
    ...{ checks: checks.list, authentic: checks.passed('hash') },
    known: detached.length,
  })
  try {
    checks.run('workflow id', () => checkId(workflow), workflow.id)
    if (fetched.failure) throw fetched.failure
    const text = verifiedText(updateManifest, updateManifestSignature, terms.ring, checks, seen)
    seen.manifestVersion = claimedVersion(text)
    const signed = parseManifest(text, checks)
    seen.updateId = signed.updateId
    if (allowed) checkFlat(signed)
    checkProvider(signed.updateId, terms.providers, checks)
    let written: Verified<WrittenManifest>
    if (isMini(signed)) {
      const file = contentOf(limited(signed.detached), files)
      if (!file) return { needs: need([signed.detached], fileUrls, terms.hosts), evidence: evidence() }
      detached.push(file)
      written = checks.run('detached manifest', () => readDetached(file, signed))
    } else written = signed
    seen.steps = written.steps
    if (written.createdDateTime !== undefined) seen.createdDateTime = written.createdDateTime
    checkCompatibility(written, terms, checks)
    const children = childFilesOf(written)
    const found = children.map(file => contentOf(file, files))
    detached.push(...found.filter(bytes => bytes !== undefined))
    const missing = children.filter((_, index) => !found[index])
    if (missing.length > 0) return { needs: need(missing, fileUrls, terms.hosts), evidence: evidence() }
    const read = () => withChildren(written, detached)
    const manifest = children.length > 0 ? checks.run('child manifests', read, namesOf(children)) : read()
    seen.steps = manifest.steps
    const texts = detached.map(bytes => bytes.toString())
    const asSent = { manifest: text, signature: String(updateManifestSignature), detached: texts }
    return { judged: { ...base, kind: 'deploy', manifest, signed: asSent, fileUrls }, evidence: evidence() }
  } catch (error) {
    if (!(error instanceof AgentError)) throw error
    const { updateId } = seen
    // The reference reports a failed fetch with this one code.
    const refused: Refusal = { ...base, kind: 'refuse', error, ...(updateId ? { updateId } : {}) }
    return { judged: fetched.failure ? { ...refused, extraCodes: [] } : refused, evidence: evidence() }
  }
}

/** Checks signature and hash alone, for the explanation of a deployment that is refused or ignored for other reasons. */
export function authenticity(service: Readonly<Record<string, unknown>>, ring: KeyRing): Evidence {
  const checks = new Checks()
  const seen: Writable<Partial<Evidence>> = {}
  const { updateManifest, updateManifestSignature } = service
  try {
    const text = verifiedText(updateManifest, updateManifestSignature, ring, checks, seen)
    seen.manifestVersion = claimedVersion(text)
    seen.updateId = parseManifest(text, checks).updateId
  } catch (error) {
    if (!(error instanceof AgentError)) throw error
  }
  return { ...seen, checks: checks.list, authentic: checks.passed('hash'), known: 0 }
}

type Writable<T> = { -readonly [K in keyof T]: T[K] }

function checkId({ id }: Workflow): void {
  if (isSafeWorkflowId(id)) return
  throw new AgentError('NAME_UNSAFE', 'workflow.id is too long, or has characters other than A-Z a-z 0-9 . _ -')
}

function limited(file: Verified<FileEntity>): Verified<FileEntity> {
  if (file.sizeInBytes <= MAX_DETACHED_BYTES) return file
  throw new AgentError('DETACHED_BAD', `the detached manifest is larger than ${MAX_DETACHED_BYTES} bytes`)
}

const need = (files: readonly Verified<FileEntity>[], fileUrls: unknown, hosts: Hosts | undefined) =>
  files.map(file => ({ file, url: urlOf(file, fileUrls, hosts) }))

const namesOf = (files: readonly FileEntity[]): string => files.map(({ fileName }) => fileName).join(', ')

/** The manifest's text, after its hash was found in a payload signed by a trusted key. */
function verifiedText(
  manifest: unknown,
  signature: unknown,
  ring: KeyRing,
  checks: Checks,
  seen: Writable<Partial<Evidence>>,
): string {
  const signed = verifySignature(signature, ring, checks)
  Object.assign(seen, {
    rootKey: signed.rootKey,
    ...(signed.signingKey === undefined ? {} : { signingKey: signed.signingKey }),
  })
  return checks.run('hash', () => checkHash(manifest, signed))
}

function checkHash(manifest: unknown, { payload }: Signed): string {
  // An object has lost the exact bytes that were signed.
  if (typeof manifest !== 'string') {
    const why = manifest === undefined || manifest === null ? 'is missing' : 'is not a string'
    throw new AgentError('MANIFEST_HASH', `updateManifest ${why}`)
  }
  const sha256 = payloadOf(fromBase64url(payload))?.sha256
  const claimed = typeof sha256 === 'string' ? fromBase64(sha256) : undefined
  if (!claimed) throw new AgentError('MANIFEST_HASH', 'the signature holds no sha256 of an updateManifest')
  const actual = createHash('sha256').update(manifest, 'utf8').digest()
  if (claimed.length !== actual.length || !timingSafeEqual(claimed, actual)) {
    throw new AgentError('MANIFEST_HASH', 'updateManifest is not the text that was signed')
  }
  return manifest
}

/** For the explanation of a manifest that cannot be parsed. */
function claimedVersion(text: string): string {
  return /"manifestVersion"\s*:\s*"([^"\\]{0,40})"/.exec(text.slice(0, 65_536))?.[1] ?? ''
}

/** Distinguishes manifests, whatever else is ordered about them. */
export const fingerprintOf = ({ updateManifest, updateManifestSignature }: Service): string =>
  fingerprint([updateManifest, updateManifestSignature])

/** Hash of texts as they were sent; other values count by their type only. */
const fingerprint = (parts: readonly unknown[]): string =>
  createHash('sha256')
    .update(JSON.stringify(parts.map(part => (typeof part === 'string' ? part : typeof part))))
    .digest('base64')
