import * as v from 'valibot'

// The only definition of the agent's view: server, clients, lights and tests use it.
// Times are seconds since the machine's start, so clock changes do not affect them; null means unknown or absent.

const text = v.string()
const count = v.number()
const slotName = v.picklist(['a', 'b'])

export const PHASES = [
  /** No agent is running: the view was read from the disk. */
  'stopped',
  'starting',
  'idle',
  /** A deployment was accepted but must wait. */
  'waiting',
  /** The journal entry of a new attempt is being written. */
  'beginning',
  'installing',
  'activating',
  'rebooting',
  'trial',
  'committing',
  'fallingBack',
  /** The result is being written. */
  'ending',
  'reporting',
] as const
export type DoingPhase = (typeof PHASES)[number]

/** What the agent waits for. `news`: a new deployment. `retry`: a pause after a failure. `gate`: a time window, a lock, … */
const WAITS = ['news', 'hub', 'health', 'retry', 'gate', 'consent'] as const

const slot = v.object({
  version: v.nullable(text),
  /** An installation has begun and not finished. */
  partial: v.boolean(),
})

const deployment = v.object({
  workflowId: text,
  /** 3: a deployment, 255: a cancel. */
  action: count,
  /** `deviceUpdate` (the twin), `firmwareUpdate` (the method), … */
  origin: text,
  updateId: v.nullable(v.object({ provider: text, name: text, version: text })),
  /** Version that the new system must have. */
  version: v.nullable(text),
  installs: count,
  reboots: count,
  /** The slot that holds the whole update. */
  installedTo: v.nullable(slotName),
  /** Milestones of the trial boots, oldest first. */
  milestones: v.array(text),
  /** The attempt has a result. */
  ended: v.boolean(),
})

const result = v.object({
  workflowId: text,
  /** 700 applied, 0 failed, -1 cancelled (src/domain/README.md). */
  resultCode: count,
  /** Eight hexadecimal digits each. */
  extendedResultCodes: v.array(text),
  details: text,
  /** The hub has the result. */
  reported: v.boolean(),
})

/** How the last trial went that was not committed, from the record of its boots (`domain/flight.ts`). */
const lastTrial = v.object({
  workflowId: text,
  /** How far the last boot came, and why it ended, as in the result's details. */
  summary: text,
  boots: v.array(
    v.object({
      id: text,
      /** `seconds`: since the kernel's start. */
      milestones: v.array(v.object({ name: text, seconds: count, text: v.nullable(text) })),
      /** How the boot ended, as the next one found it: `panic`, `watchdog`, `initramfs` or `unknown`. */
      end: v.nullable(v.object({ how: text, text })),
    }),
  ),
})

const viewSchema = v.object({
  format: v.literal(1),
  /** Null when no agent is running. */
  agent: v.nullable(v.object({ version: text, pid: count, since: count })),
  phase: v.picklist(PHASES),
  waitsFor: v.nullable(v.object({ what: v.picklist(WAITS), why: v.nullable(text), until: v.nullable(count) })),
  /** Progress of the running installation. `bytes` includes the `resumed` ones, which were already in the slot. */
  progress: v.nullable(v.object({ bytes: count, size: v.nullable(count), resumed: count, since: count })),
  /** The step that is at work, of a list of several; counted from 1. `percent`: as far as the step says so. */
  step: v.nullable(
    v.object({ number: count, of: count, handler: text, component: v.nullable(text), percent: v.nullable(count) }),
  ),
  /** What is being written, from before the first byte until the loop looks again: do not cut the power. */
  writing: v.optional(v.nullable(v.picklist(['slot', 'bootState', 'step'])), null),
  /** Why all or part of `deployment` is missing: the journal could not be read. */
  journalDamage: v.nullable(text),
  /** The newest attempt, running or ended. */
  deployment: v.nullable(deployment),
  /** The result of the newest attempt that has ended. */
  lastResult: v.nullable(result),
  /** Until when a good update counts as new. */
  updatedUntil: v.optional(v.nullable(count), null),
  /** The trial boots of the newest attempt, after a fall-back. */
  lastTrial: v.optional(v.nullable(lastTrial), null),
  /** The last good update. `time`: ISO 8601, by the device's clock. */
  lastUpdate: v.nullable(v.object({ workflowId: text, name: text, time: text })),
  /** Null before the first observation. `primary`: the slot to start next; `tries`: starts left to a pending trial. */
  boot: v.nullable(
    v.object({ booted: slotName, primary: slotName, trial: v.picklist(['none', 'pending', 'failed']), tries: count }),
  ),
  slots: v.object({ a: slot, b: slot }),
  hub: v.object({ connected: v.boolean(), since: v.nullable(count), why: v.nullable(text) }),
  /** False while the clock is certainly wrong, that is, behind the lower bound that this device knows. */
  time: v.object({ trusted: v.boolean() }),
  /** Until then the lights show which device this is, because somebody asked. */
  identifyUntil: v.optional(v.nullable(count), null),
  /** Why the device's certificate could not be renewed; null when it is new enough or the renewal is not due. */
  renewalRefused: v.optional(v.nullable(text), null),
  /** Why the stick that is plugged in cannot be used; null without one. */
  stickRefused: v.optional(v.nullable(text), null),
  /** Where the local page is, and why it is not; null without one. */
  page: v.optional(v.nullable(v.object({ url: text, why: v.nullable(text) })), null),
  /** The owner's new configuration was refused, and an older one is in use. */
  configRefused: v.boolean(),
})

/** Why there is no hub connection in the first moments of a process. */
export const JUST_STARTED = 'the agent has just started'

/** An immutable snapshot of the agent. */
export type AgentView = DeepReadonly<v.InferOutput<typeof viewSchema>>

type DeepReadonly<T> = T extends object ? { readonly [K in keyof T]: DeepReadonly<T[K]> } : T

/** Undefined for anything that is not a view of this format. */
export function readView(value: unknown): AgentView | undefined {
  const found = v.safeParse(viewSchema, value)
  return found.success ? found.output : undefined
}

/** The view before anything is known. */
export const NOTHING: AgentView = {
  format: 1,
  agent: null,
  phase: 'stopped',
  waitsFor: null,
  progress: null,
  step: null,
  writing: null,
  journalDamage: null,
  deployment: null,
  lastResult: null,
  updatedUntil: null,
  lastTrial: null,
  lastUpdate: null,
  boot: null,
  slots: { a: { version: null, partial: false }, b: { version: null, partial: false } },
  hub: { connected: false, since: null, why: null },
  time: { trusted: true },
  identifyUntil: null,
  renewalRefused: null,
  stickRefused: null,
  page: null,
  configRefused: false,
}
