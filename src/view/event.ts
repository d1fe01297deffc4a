import * as v from 'valibot'

const text = v.string()
const number = v.number()
const slot = v.picklist(['a', 'b'])
const MOODS = [
  'starting',
  'online',
  'offline',
  'waiting',
  'waitingForConsent',
  'downloading',
  'writing',
  'rebooting',
  'trial',
  'updated',
  'fellBack',
  'failed',
  'identify',
  'configRefused',
] as const

/** What the agent is doing, in the few states that a light can show to a person across a room. */
export type Mood = (typeof MOODS)[number]

/** What a power cut would leave half written: the other slot, the boot state, or what a step changes in the running system. */
const WRITTEN = ['slot', 'bootState', 'step'] as const
export type Written = (typeof WRITTEN)[number]

/** Why the machine reboots: into a trial, out of one, or because a step or a method requested it. */
const REASONS = ['trial', 'fallBack', 'step', 'asked'] as const
export type RebootReason = (typeof REASONS)[number]

/** Name → fields. The log has the same events under the same names. */
const EVENTS = {
  'agent.started': v.object({ version: text, system: text, pid: number }),
  'agent.stopped': v.object({ signal: text }),
  'hub.connected': v.object({}),
  'hub.lost': v.object({ why: text, retryInMs: number }),
  /** The certificate could not be renewed, and the old one stays in use. */
  'identity.renewal-refused': v.object({ why: text }),
  /** The certificate has been renewed after all. */
  'identity.renewed': v.object({}),
  /** A deployment, a cancel, or a request made once was accepted. */
  'deployment.taken': v.object({
    workflowId: text,
    origin: text,
    kind: v.picklist(['deploy', 'cancel', 'refuse', 'once']),
  }),
  'deployment.refused': v.object({ workflowId: text, why: text, code: text }),
  /** The stick at `piAdu.local.folder` cannot be used. */
  'stick.refused': v.object({ why: text }),
  /** It was taken away, or can be used after all. */
  'stick.away': v.object({}),
  /** The desired properties request something that this agent does not support. */
  'deployment.ignored': v.object({ why: text }),
  /** A check failed, but the deployment is accepted all the same. */
  'deployment.warning': v.object({ workflowId: text, check: text, why: text }),
  /** `size`: bytes; absent until the server has reported it. */
  'install.begin': v.object({ slot, file: text, size: v.exactOptional(number) }),
  /** `bytes` of `of` bytes are done; those that were already in the slot count. */
  'install.progress': v.object({ bytes: number, of: v.exactOptional(number) }),
  /** `bytes` bytes from `first` on were already in the slot and are not downloaded again. */
  'install.resumed': v.object({ first: number, end: number, bytes: number }),
  'install.end': v.object({ slot, bytes: v.exactOptional(number), ms: number }),
  /** A step of a list that is not an image; counted from 1. */
  'step.begin': v.object({ step: number, of: number, handler: text, component: v.exactOptional(text) }),
  'step.progress': v.object({ step: number, percent: number }),
  'step.end': v.object({ step: number, resultCode: number, resultDetails: text }),
  /** It is about to be written. */
  writing: v.object({ what: v.picklist(WRITTEN) }),
  activated: v.object({ slot }),
  reboot: v.object({ why: v.picklist(REASONS) }),
  /** `tries`: starts left. */
  'trial.begun': v.object({ slot, tries: number }),
  'trial.finding': v.object({ finding: text }),
  committed: v.object({ slot, version: text }),
  'fall-back': v.object({ why: text, code: text }),
  /** `extendedResultCodes`: eight hexadecimal digits each, separated by commas. */
  result: v.object({ workflowId: text, resultCode: number, extendedResultCodes: text, resultDetails: text }),
  reported: v.object({ workflowId: text, resultCode: number }),
  /** An action failed. It is retried after `retryInMs` milliseconds, unless a result or news come first. */
  'action.failed': v.object({
    action: text,
    why: text,
    code: v.exactOptional(text),
    retryInMs: v.exactOptional(number),
  }),
  /** Somebody at the device has asked for something, and got this answer. */
  asked: v.object({ what: text, isDone: v.boolean(), answer: text }),
  mood: v.object({ mood: v.picklist(MOODS) }),
}

type Name = keyof typeof EVENTS

/** Something that has happened. */
export type AgentEvent = {
  [N in Name]: { readonly event: N } & Readonly<v.InferOutput<(typeof EVENTS)[N]>>
}[Name]

/** An event as published to watchers. */
export type ToldEvent = AgentEvent & {
  /** Counts the events of one process, from 1. */
  readonly n: number
  /** By the device's clock, which may be wrong (ISO 8601). */
  readonly time: string
  /** Seconds since the machine's start. */
  readonly uptime: number
}

/** Log levels of the events. Default: info. */
export const LEVELS: Readonly<Partial<Record<Name, 'debug' | 'warn' | 'error'>>> = {
  'hub.lost': 'warn',
  'identity.renewal-refused': 'error',
  'deployment.refused': 'error',
  'stick.refused': 'error',
  'deployment.ignored': 'warn',
  'deployment.warning': 'warn',
  'install.progress': 'debug',
  'step.progress': 'debug',
  writing: 'debug',
  'trial.finding': 'warn',
  'fall-back': 'warn',
  'action.failed': 'error',
}

const head = { n: number, time: text, uptime: number }

/** The event in a line of the control socket or the log; undefined for anything else. Unknown fields are dropped. */
export function readEvent(line: unknown): ToldEvent | undefined {
  return read(line, head) as ToldEvent | undefined
}

/** The same for a line of the log, where events have no number. */
export function readLoggedEvent(line: unknown): (AgentEvent & { readonly time: string }) | undefined {
  return read(line, { time: text }) as (AgentEvent & { readonly time: string }) | undefined
}

function read(line: unknown, more: v.ObjectEntries): object | undefined {
  const name = (line as { event?: unknown } | null | undefined)?.event
  if (typeof name !== 'string' || !Object.hasOwn(EVENTS, name)) return undefined
  const fields: v.ObjectEntries = EVENTS[name as Name].entries
  const found = v.safeParse(v.object({ event: v.literal(name), ...more, ...fields }), line)
  return found.success ? found.output : undefined
}
