import { createHash, timingSafeEqual } from 'node:crypto'
import type { FileEntity, Order, UpdateId, UpdateManifest, Verified, Workflow } from '../domain/deployment.ts'
import { AgentError } from '../domain/errors.ts'
import { fromBase64, fromBase64url } from './base64.ts'
import { type Check, Checks } from './checks.ts'
import { compare } from './compatibility.ts'
import { MAX_DETACHED_BYTES, readDetached } from './detached.ts'
import { payloadOf, type Signed, verifySignature } from './jws.ts'
import type { KeyRing } from './keys.ts'
import { isMini, type MiniManifest, parseManifest } from './manifest.ts'
import { isSafeWorkflowId } from './names.ts'
import type { Service } from './service.ts'
import { readSystemUpdate, urlOf } from './system-update.ts'

/** What an order is held against. */
export interface Terms {
  readonly ring: KeyRing
  readonly compatibility: 'enforce' | 'warn' | 'off'
  /** What this device reports of itself; undefined: not known, and not compared. */
  readonly properties: Readonly<Record<string, string>> | undefined
}

/** What was fetched for an order before this look at it. */
export interface Fetched {
  /** Of the file that the last look asked for. */
  readonly detached?: Verified<Buffer>
  /** Fetching failed, for good. */
  readonly failure?: AgentError
  /** Extended result codes of what went wrong without being wrong enough to stop. */
  readonly extraCodes?: readonly number[]
}

export interface Verdict {
  /** Undefined while something has to be fetched first. */
  readonly order?: Order
  readonly needs?: { readonly file: FileEntity; readonly url: string }
  readonly evidence: Evidence
}

/** What was seen on the way, for those who ask why. */
export interface Evidence {
  readonly checks: readonly Check[]
  /** Signatures and hash are right; says nothing about anything else. */
  readonly authentic: boolean
  readonly rootKey?: string
  readonly signingKey?: string
  readonly manifestVersion?: string
  readonly updateId?: UpdateId
  readonly steps?: UpdateManifest['steps']
  readonly createdDateTime?: string
}

/**
 * The one way from what the twin says to something that may be acted on: every failed check makes a `refuse`, with its
 * reason. Pure, and it throws nothing that the twin could cause.
 */
export function judge(service: Service, terms: Terms, fetched: Fetched = {}): Verdict {
  const { workflow, action } = service
  const checks = new Checks()
  checks.note('action', 'pass', action === 'deploy' ? '3, process deployment' : '255, cancel')
  if (action === 'cancel') {
    const evidence = { checks: checks.list, authentic: false }
    return { order: { kind: 'cancel', workflow, fingerprint: fingerprint(['cancel', workflow.id]) }, evidence }
  }
  return deployment(service, terms, fetched, checks)
}

function deployment(service: Service, terms: Terms, fetched: Fetched, checks: Checks): Verdict {
  const { workflow, updateManifest, updateManifestSignature, fileUrls } = service
  const { extraCodes = [] } = fetched
  const base = { workflow, fingerprint: fingerprint([updateManifest, updateManifestSignature]), extraCodes }
  const seen: Writable<Partial<Evidence>> = {}
  const evidence = (): Evidence => ({ ...seen, checks: checks.list, authentic: checks.passed('hash') })
  try {
    checks.run('workflow id', () => checkId(workflow), workflow.id)
    if (fetched.failure) throw fetched.failure
    const text = verifiedText(updateManifest, updateManifestSignature, terms.ring, checks, seen)
    seen.manifestVersion = claimedVersion(text)
    const signed = parseManifest(text, checks)
    seen.updateId = signed.updateId
    let manifest: Verified<UpdateManifest>
    if (isMini(signed)) {
      if (!fetched.detached) return { needs: need(signed, fileUrls), evidence: evidence() }
      const file = fetched.detached
      manifest = checks.run('detached manifest', () => readDetached(file, signed))
    } else manifest = signed
    seen.steps = manifest.steps
    if (manifest.createdDateTime !== undefined) seen.createdDateTime = manifest.createdDateTime
    checkCompatibility(manifest, terms, checks)
    const update = readSystemUpdate(manifest, fileUrls, checks)
    return { order: { ...base, kind: 'deploy', update }, evidence: evidence() }
  } catch (error) {
    if (!(error instanceof AgentError)) throw error
    const { updateId } = seen
    // The reference ends such a deployment with this one code.
    const order: Order = { ...base, kind: 'refuse', error, ...(updateId ? { updateId } : {}) }
    return { order: fetched.failure ? { ...order, extraCodes: [] } : order, evidence: evidence() }
  }
}

/** Signature and hash alone, of an order that is judged for other reasons, or is none at all. */
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
  return { ...seen, checks: checks.list, authentic: checks.passed('hash') }
}

type Writable<T> = { -readonly [K in keyof T]: T[K] }

function checkId({ id }: Workflow): void {
  if (isSafeWorkflowId(id)) return
  throw new AgentError('NAME_UNSAFE', 'workflow.id has other characters than A-Z a-z 0-9 . _ -, or is too long')
}

function need(mini: Verified<MiniManifest>, fileUrls: unknown): NonNullable<Verdict['needs']> {
  const file = mini.detached
  if (file.sizeInBytes > MAX_DETACHED_BYTES) {
    throw new AgentError('DETACHED_BAD', `the detached manifest is larger than ${MAX_DETACHED_BYTES} bytes`)
  }
  return { file, url: urlOf(file, fileUrls) }
}

/** The manifest's text, once its hash stands in a payload that a trusted key signed. */
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
  // An object would have lost the exact bytes that were signed.
  if (typeof manifest !== 'string') throw new AgentError('MANIFEST_HASH', 'updateManifest is not a string')
  const sha256 = payloadOf(fromBase64url(payload))?.sha256
  const claimed = typeof sha256 === 'string' ? fromBase64(sha256) : undefined
  if (!claimed) throw new AgentError('MANIFEST_HASH', 'the signature holds no sha256 of an updateManifest')
  const actual = createHash('sha256').update(manifest, 'utf8').digest()
  if (claimed.length !== actual.length || !timingSafeEqual(claimed, actual)) {
    throw new AgentError('MANIFEST_HASH', 'updateManifest is not the text that was signed')
  }
  return manifest
}

/** For the explanation of a manifest that nothing more can be read of. */
function claimedVersion(text: string): string {
  return /"manifestVersion"\s*:\s*"([^"\\]{0,40})"/.exec(text.slice(0, 65_536))?.[1] ?? ''
}

function checkCompatibility(
  { compatibility }: UpdateManifest,
  { compatibility: mode, properties }: Terms,
  checks: Checks,
) {
  if (mode === 'off' || properties === undefined || compatibility.length === 0) {
    return checks.note('compatibility', 'skip', compatibility.length === 0 ? 'the manifest names none' : 'not compared')
  }
  const wanted = JSON.stringify(compatibility).slice(0, 200)
  const match = compare(compatibility, properties)
  if (match === 'match') return checks.note('compatibility', 'pass', wanted)
  if (match === 'unknown') {
    return checks.note('compatibility', 'warn', `the update is for ${wanted}, and this device has none of these`)
  }
  const message = `the update is for ${wanted}, and this device is ${JSON.stringify(properties).slice(0, 200)}`
  if (mode === 'warn') return checks.note('compatibility', 'warn', message)
  checks.run('compatibility', () => {
    throw new AgentError('COMPATIBILITY', message)
  })
}

/** Of texts as they were sent; anything else has no content that could be told apart. */
const fingerprint = (parts: readonly unknown[]): string =>
  createHash('sha256')
    .update(JSON.stringify(parts.map(part => (typeof part === 'string' ? part : typeof part))))
    .digest('base64')
