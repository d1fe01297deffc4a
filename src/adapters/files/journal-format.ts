import * as v from 'valibot'
import { type Attempt, JOURNAL_FORMAT } from '../../domain/attempt.ts'
import type { StepRecord } from '../../domain/step-record.ts'

const workflow = v.looseObject({ action: v.number(), id: v.string(), retryTimestamp: v.exactOptional(v.string()) })
const updateId = v.looseObject({ provider: v.string(), name: v.string(), version: v.string() })
const answered = v.looseObject({ workflow, fingerprint: v.string(), cancelledBy: v.exactOptional(v.string()) })
const slot = v.picklist(['a', 'b'])
const phase = v.picklist(['download', 'apply', 'trial'])
const result = v.looseObject({
  resultCode: v.number(),
  extendedResultCodes: v.array(v.number()),
  resultDetails: v.string(),
  phase: v.exactOptional(phase),
  installed: v.exactOptional(updateId),
  nothingKnown: v.exactOptional(v.literal(true)),
})
const own = v.looseObject({
  url: v.string(),
  sha256: v.exactOptional(v.string()),
  sizeInBytes: v.exactOptional(v.number()),
  version: v.exactOptional(v.string()),
  local: v.exactOptional(v.literal(true)),
  list: v.exactOptional(v.literal(true)),
  updateId: v.exactOptional(updateId),
})
const times = v.looseObject({
  begun: v.string(),
  downloaded: v.exactOptional(v.string()),
  applying: v.exactOptional(v.string()),
  applied: v.exactOptional(v.string()),
})

const record = { path: v.array(v.number()), handler: v.string(), starts: v.number() }
const state = v.picklist(['pending', 'ready', 'running', 'done', 'skipped', 'failed'])
const more = {
  component: v.exactOptional(v.string()),
  work: v.exactOptional(v.literal(true)),
  fetches: v.exactOptional(v.number()),
  prepares: v.exactOptional(v.number()),
  pauses: v.exactOptional(v.number()),
  bare: v.exactOptional(v.literal(true)),
  order: v.exactOptional(v.looseObject({ verb: v.picklist(['download', 'install', 'apply']), id: v.string() })),
  bootId: v.exactOptional(v.string()),
  process: v.exactOptional(v.string()),
  restarts: v.exactOptional(v.number()),
  wants: v.exactOptional(v.picklist(['trial', 'rebootNow', 'agentRestart'])),
  unapplied: v.exactOptional(v.literal(true)),
  later: v.exactOptional(v.picklist(['reboot', 'agentRestart'])),
  mayHaveRun: v.exactOptional(v.literal(true)),
  result: v.exactOptional(
    v.looseObject({ resultCode: v.number(), extendedResultCode: v.number(), resultDetails: v.string() }),
  ),
}
const step = v.looseObject({ ...record, state, ...more })

/** What every format has: enough for a true report of an update that fell back, or of one that went back to an older agent. */
const kept = {
  workflow,
  fingerprint: v.string(),
  updateId: v.exactOptional(updateId),
  installedCriteria: v.exactOptional(v.string()),
  installedTo: v.exactOptional(slot),
  milestones: v.array(v.string()),
  cause: v.exactOptional(v.looseObject({ extendedResultCode: v.number(), details: v.string() })),
  result: v.exactOptional(result),
  reported: v.boolean(),
  origin: v.string(),
  vouched: v.exactOptional(v.literal(true)),
  rollback: v.exactOptional(v.looseObject({ to: slot, version: v.string(), from: v.string() })),
}

const rest = {
  extraCodes: v.exactOptional(v.array(v.number())),
  before: v.exactOptional(v.looseObject({ updateId, installedCriteria: v.string() })),
  committed: v.exactOptional(v.string()),
  installs: v.number(),
  reboots: v.number(),
  pauses: v.exactOptional(v.number()),
  reached: v.exactOptional(v.picklist(['download', 'install'])),
  spare: v.exactOptional(v.looseObject({ slot, version: v.string() })),
  retries: v.exactOptional(v.number()),
  failedBefore: v.exactOptional(v.array(v.string())),
  cancelledBy: v.exactOptional(v.string()),
  gap: v.exactOptional(v.string()),
  times,
  own: v.exactOptional(own),
  answered: v.exactOptional(answered),
  offline: v.exactOptional(v.literal(true)),
}

const whole = { format: v.literal(JOURNAL_FORMAT), ...kept, ...rest, steps: v.array(step) }
const owed = v.exactOptional(v.looseObject({ ...whole, result }))
const current = v.looseObject({ ...whole, owed })
const newer = v.looseObject({ format: v.pipe(v.number(), v.minValue(JOURNAL_FORMAT + 1)), ...kept })

/**
 * Reads what an agent wrote. After a fall-back that agent may be a newer one, whose journal has a higher format: then only what
 * every format has must be as here. Of the rest everything is taken that can be, and goes on in our format. Throws for
 * anything else.
 */
export function readAttempt(json: unknown): Attempt {
  const isNewer = v.is(v.looseObject({ format: v.pipe(v.number(), v.minValue(JOURNAL_FORMAT + 1)) }), json)
  return isNewer ? readNewer(json as Record<string, unknown>) : v.parse(current, json)
}

function readNewer(json: Record<string, unknown>): Attempt {
  const must = v.parse(newer, withKnownPhase(json))
  const names = Object.keys(kept) as (keyof typeof kept)[]
  return {
    ...{ installs: 0, reboots: 0, times: { begun: '' } },
    ...(readable(rest, json) as Partial<Attempt>),
    ...(Object.fromEntries(names.filter(name => name in must).map(name => [name, must[name]])) as unknown as Attempt),
    format: JOURNAL_FORMAT,
    steps: Array.isArray(json.steps) ? json.steps.map(readNewerStep) : [],
    ...readOwed(json.owed),
  }
}

/** It may have the one or the other format. One that cannot be read costs a report, and not the rest of the journal. */
function readOwed(json: unknown): Pick<Attempt, 'owed'> {
  try {
    const { result: known, ...attempt } = readAttempt(json)
    return known ? { owed: { ...attempt, result: known } } : {}
  } catch (error) {
    if (error instanceof v.ValiError) return {}
    throw error
  }
}

/** A state that we do not know is one of a step that was begun, and nobody here can say how far it came. */
function readNewerStep(json: unknown, index: number): StepRecord {
  return {
    ...{ path: [index], handler: 'unknown', state: 'running', starts: 1 },
    ...(readable({ ...record, state, ...more }, json) as Partial<StepRecord>),
  }
}

/** The phases of a failure may be more by then; without one it is still a failure. */
function withKnownPhase(json: Record<string, unknown>): Record<string, unknown> {
  const { result: given } = json
  if (typeof given !== 'object' || given === null || !('phase' in given) || v.is(phase, given.phase)) return json
  const { phase: _, ...known } = given
  return { ...json, result: known }
}

/** The members of `json` that are as `schemas` have them. */
function readable(schemas: Record<string, v.GenericSchema>, json: unknown): Record<string, unknown> {
  if (typeof json !== 'object' || json === null) return {}
  const given = Object.entries(json).filter(([name, value]) => {
    const schema = Object.hasOwn(schemas, name) ? schemas[name] : undefined
    return schema !== undefined && v.is(schema, value)
  })
  return Object.fromEntries(given)
}
