import * as v from 'valibot'
import { AgentError } from '../domain/errors.ts'
import type { StepResult } from '../domain/step-record.ts'
import type { StepOrder } from '../ports/steps.ts'
import { MAX_CHILDREN_BYTES, MAX_DETACHED_BYTES } from '../trust/detached.ts'
import { MAX_MANIFEST_LENGTH } from '../trust/manifest.ts'
import { MAX_PACKAGE_BYTES } from '../trust/root-key-package.ts'

/** Bytes of the longest request: a signed text with its detached manifests, as JSON in JSON. */
export const MAX_REQUEST = 8 * 1024 * 1024

/** Where the service of a device listens. */
export const SOCKET = '/run/pi-adu-steps/socket'

/** Ids become names of files. */
const ORDER_ID = /^[A-Za-z0-9_][\w.-]{0,127}$/

const short = v.pipe(v.string(), v.maxLength(256))
const text = (most: number) => v.pipe(v.string(), v.maxLength(most, 'is too long'))
const lengthOf = (texts: readonly string[]): number => texts.reduce((sum, { length }) => sum + length, 0)
const index = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(99))

const component = v.object({
  id: short,
  name: short,
  group: v.exactOptional(short),
  manufacturer: v.exactOptional(short),
  model: v.exactOptional(short),
  version: v.exactOptional(short),
  properties: v.record(v.string(), v.string()),
})

const order = v.object({
  id: v.pipe(v.string(), v.regex(ORDER_ID, 'has characters other than A-Z a-z 0-9 . _ -, or more than 128')),
  signed: v.object({
    manifest: text(MAX_MANIFEST_LENGTH),
    signature: text(64 * 1024),
    detached: v.pipe(
      v.array(text(MAX_DETACHED_BYTES)),
      // The manifest of a mini manifest, and a child for each step.
      v.maxLength(11),
      v.check(texts => lengthOf(texts) <= MAX_DETACHED_BYTES + MAX_CHILDREN_BYTES, 'is too long'),
    ),
  }),
  path: v.pipe(v.array(index), v.minLength(1), v.maxLength(8)),
  component: v.exactOptional(component),
  verb: v.picklist(['isInstalled', 'download', 'install', 'apply', 'cancel']),
  folder: v.pipe(v.string(), v.maxLength(4000), v.regex(/^\/[^\0]*$/, 'is not an absolute path')),
})

const request = v.object({ order, rootKeyPackage: v.exactOptional(text(MAX_PACKAGE_BYTES)) })

/** The client's only line: one order. */
export interface Request {
  readonly order: StepOrder
  /** The newest root key package of the agent, as it was received. */
  readonly rootKeyPackage?: string
}

const answer = v.union([
  v.object({ progress: v.number() }),
  v.object({
    result: v.object({ resultCode: v.number(), extendedResultCode: v.number(), resultDetails: v.string() }),
  }),
  v.object({ refused: v.object({ code: v.string(), extendedResultCode: v.number(), message: v.string() }) }),
])

/** The service's lines: any number of `progress` in percent, then a result or why there is none. */
export type Answer = { readonly progress: number } | { readonly result: StepResult } | { readonly refused: Refused }

/** `code`: `STEP_SERVICE`, try again later; `STEP_UNKNOWN`; any other: the service does not do this, now or later. */
export interface Refused {
  readonly code: string
  readonly extendedResultCode: number
  readonly message: string
}

export const refusedBy = ({ code, extendedResultCode, message }: AgentError): Answer => ({
  refused: { code, extendedResultCode, message: message.slice(0, 2000) },
})

/** Errors: AgentError `STEP_REFUSED` with what is wrong with the line. */
export function readRequest(line: string): Request {
  const found = v.safeParse(request, parsed(line))
  if (found.success) return found.output
  const [issue] = found.issues
  throw new AgentError('STEP_REFUSED', `the request is not valid: ${v.getDotPath(issue) ?? ''} ${issue.message}`)
}

/** Undefined for a line that is no answer. */
export function readAnswer(line: string): Answer | undefined {
  try {
    const found = v.safeParse(answer, JSON.parse(line))
    return found.success ? found.output : undefined
  } catch {
    return undefined
  }
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line)
  } catch {
    throw new AgentError('STEP_REFUSED', 'the request is not JSON')
  }
}
