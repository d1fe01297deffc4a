import { createHash, timingSafeEqual } from 'node:crypto'
import type { Order, UpdateId, Workflow } from '../domain/deployment.ts'
import { AgentError } from '../domain/errors.ts'
import { verifySignature } from './jws.ts'
import { parseManifest } from './manifest.ts'
import { isSafeWorkflowId } from './names.ts'
import type { RootKey } from './root-keys.ts'
import { readSystemUpdate } from './system-update.ts'

export interface Reading {
  /** `$version` of the desired properties; undefined when the document is unusable. */
  readonly version?: number
  /** Whether there is a `deviceUpdate.service` to acknowledge. */
  readonly hasService: boolean
  /** For the acknowledgement, as sent. */
  readonly workflow?: unknown
  readonly order?: Order
  /** Why there is no order although something was sent. */
  readonly ignored?: string
}

const PROCESS_DEPLOYMENT = 3
const CANCEL = 255

/**
 * The one way from a desired document of the twin to something that may be acted on. Never throws: an order that fails a
 * check becomes `refuse`, with the reason; what is no order at all is ignored. Nothing is acted on without an `action`.
 */
export function readOrder(desired: unknown, rootKeys: readonly RootKey[]): Reading {
  const version = member(desired, '$version')
  if (typeof version !== 'number') return { hasService: false, ignored: 'the desired properties have no $version' }
  const service = member(member(desired, 'deviceUpdate'), 'service')
  if (!isObject(service)) return { version, hasService: false }
  const sent = service.workflow
  const reading = { version, hasService: true, ...(isObject(sent) ? { workflow: sent } : {}) }
  const action = member(sent, 'action')
  if (action !== PROCESS_DEPLOYMENT && action !== CANCEL) {
    return { ...reading, ignored: `workflow.action is ${JSON.stringify(action)?.slice(0, 40)}, not 3 or 255` }
  }
  const id = member(sent, 'id')
  if (typeof id !== 'string' || id === '' || id.length > 512)
    return { ...reading, ignored: 'workflow.id is not a string of 1 to 512' }
  const retryTimestamp = member(sent, 'retryTimestamp')
  const workflow: Workflow = { action, id, ...(typeof retryTimestamp === 'string' ? { retryTimestamp } : {}) }
  if (action === CANCEL)
    return { ...reading, order: { kind: 'cancel', workflow, fingerprint: fingerprint(['cancel', id]) } }
  return { ...reading, order: deployment(workflow, service, rootKeys) }
}

function deployment(workflow: Workflow, service: Record<string, unknown>, rootKeys: readonly RootKey[]): Order {
  const { updateManifest, updateManifestSignature, fileUrls } = service
  const base = { workflow, fingerprint: fingerprint([updateManifest, updateManifestSignature]) }
  let updateId: UpdateId | undefined
  try {
    if (!isSafeWorkflowId(workflow.id)) {
      throw new AgentError('NAME_UNSAFE', 'workflow.id has other characters than A-Z a-z 0-9 . _ -, or is too long')
    }
    const manifest = parseManifest(verifiedText(updateManifest, updateManifestSignature, rootKeys))
    updateId = manifest.updateId
    return { ...base, kind: 'deploy', update: readSystemUpdate(manifest, fileUrls) }
  } catch (error) {
    if (error instanceof AgentError) return { ...base, kind: 'refuse', error, ...(updateId ? { updateId } : {}) }
    throw error
  }
}

/** The manifest's text, once its hash stands in a payload that a trusted key signed. */
function verifiedText(manifest: unknown, signature: unknown, rootKeys: readonly RootKey[]): string {
  if (typeof signature !== 'string' || signature === '') {
    throw new AgentError(
      'SIGNATURE_MISSING',
      'updateManifestSignature is missing; unsigned deployments are never taken',
    )
  }
  // An object would have lost the exact bytes that were signed.
  if (typeof manifest !== 'string') throw new AgentError('MANIFEST_BAD', 'updateManifest is not a string')
  const { sha256 } = verifySignature(signature, rootKeys)
  const claimed = typeof sha256 === 'string' ? Buffer.from(sha256, 'base64') : Buffer.alloc(0)
  const actual = createHash('sha256').update(manifest, 'utf8').digest()
  if (claimed.length !== actual.length || !timingSafeEqual(claimed, actual)) {
    throw new AgentError('MANIFEST_HASH', 'updateManifest is not the text that was signed')
  }
  return manifest
}

const fingerprint = (parts: readonly unknown[]): string =>
  createHash('sha256').update(JSON.stringify(parts)).digest('base64')

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const member = (value: unknown, key: string): unknown =>
  isObject(value) && Object.hasOwn(value, key) ? value[key] : undefined
