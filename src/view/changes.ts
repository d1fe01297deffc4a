import { type Attempt, judgedBy } from '../domain/attempt.ts'
import { type Flight, flightClause } from '../domain/flight.ts'
import { ercText, RESULT_CODE } from '../domain/result-codes.ts'
import type { BootState, SlotName } from '../domain/slot.ts'
import type { SlotMemory } from '../domain/slot-memory.ts'
import type { AgentEvent } from './event.ts'
import type { AgentView, DoingPhase } from './view.ts'

// Every way in which a view changes. All pure.

/** How long a good update counts as new. */
const UPDATED_SECONDS = 60

/** What the loop has observed, and what it is about to do. */
export interface Look {
  readonly boot: BootState
  /** Version of the booted system; empty when unknown. */
  readonly version: string
  readonly attempt: Attempt | undefined
  /** Why the journal, or the last write to it, could not be read. */
  readonly journalDamage: string | undefined
  /** What the trial boots of `attempt` left behind. */
  readonly flight?: Flight | undefined
  readonly phase: DoingPhase
  readonly waitsFor: Waits | undefined
  /** The step that is at work, of a list of several. */
  readonly step?: Omit<NonNullable<AgentView['step']>, 'percent'>
}

interface Waits {
  readonly what: NonNullable<AgentView['waitsFor']>['what']
  /** Milliseconds after which it no longer does. */
  readonly within?: number
  readonly why?: string
}

/** `now`: seconds since the machine's start. */
export function afterLook(view: AgentView, look: Look, now: number): AgentView {
  const { boot, version, attempt, phase } = look
  const { booted, primary, trial, tries } = boot
  const known = { ...view.slots, [booted]: { version: version || null, partial: false } }
  return {
    ...view,
    boot: { booted, primary, trial, tries },
    slots: known,
    phase,
    waitsFor: look.waitsFor ? waitingFor(look.waitsFor, view, now) : null,
    progress: phase === 'installing' ? view.progress : null,
    step: look.step
      ? { ...look.step, percent: look.step.number === view.step?.number ? view.step.percent : null }
      : null,
    writing: null,
    journalDamage: look.journalDamage ?? null,
    deployment: attempt ? deploymentOf(attempt) : null,
    lastTrial: attempt && look.flight ? trialOf(attempt, look.flight) : null,
    lastResult: attempt?.result ? resultOf(attempt, attempt.result) : view.lastResult,
  }
}

/** `now`: seconds since the machine's start. */
export function afterEvent(view: AgentView, event: AgentEvent, now: number): AgentView {
  switch (event.event) {
    case 'hub.connected':
      return { ...view, hub: { connected: true, since: now, why: null } }
    case 'hub.lost': {
      const since = view.hub.connected ? now : view.hub.since
      return { ...view, hub: { connected: false, since, why: event.why } }
    }
    case 'identity.renewal-refused':
      return { ...view, renewalRefused: event.why }
    case 'identity.renewed':
      return { ...view, renewalRefused: null }
    case 'stick.refused':
      return { ...view, stickRefused: event.why }
    case 'stick.away':
      return { ...view, stickRefused: null }
    case 'install.begin':
      return { ...view, progress: { bytes: 0, size: event.size ?? null, resumed: 0, since: now } }
    case 'install.progress':
      if (!view.progress) return view
      return { ...view, progress: { ...view.progress, bytes: event.bytes, size: event.of ?? view.progress.size } }
    case 'install.resumed':
      return view.progress ? { ...view, progress: { ...view.progress, resumed: event.bytes } } : view
    case 'step.progress':
      return view.step?.number === event.step ? { ...view, step: { ...view.step, percent: event.percent } } : view
    case 'step.begin':
      return view.step ? { ...view, step: { ...view.step, percent: null } } : view
    case 'writing':
      return { ...view, writing: event.what }
    case 'reboot':
      return { ...view, phase: 'rebooting', writing: null }
    case 'result': {
      const isGood = event.resultCode === RESULT_CODE.applied
      return { ...view, updatedUntil: isGood ? now + UPDATED_SECONDS : null }
    }
    case 'trial.finding':
      return view.waitsFor?.what === 'health' ? { ...view, waitsFor: { ...view.waitsFor, why: event.finding } } : view
    case 'action.failed': {
      const until = event.retryInMs === undefined ? null : now + event.retryInMs / 1000
      return { ...view, writing: null, waitsFor: { what: 'retry', why: event.why, until } }
    }
    default:
      return view
  }
}

/** Adds the slots' content, as remembered by the journal's writer. */
export function afterMemory(view: AgentView, { versions, lastUpdate }: SlotMemory): AgentView {
  const slot = (name: SlotName) => ({ version: versions[name] ?? null, partial: versions[name] === null })
  const last = lastUpdate && { workflowId: lastUpdate.workflowId, name: lastUpdate.name, time: lastUpdate.time }
  return { ...view, slots: { a: slot('a'), b: slot('b') }, lastUpdate: last ?? null }
}

function waitingFor(waits: Waits, { waitsFor: before }: AgentView, now: number): AgentView['waitsFor'] {
  const { what, within, why } = waits
  const isSame = before?.what === what && (why === undefined || before.why === why)
  // The same wait observed again: its description and the end of its time limit stay.
  const until = within === undefined ? null : isSame && before.until !== null ? before.until : now + within / 1000
  return { what, why: why ?? (isSame ? before.why : null), until }
}

function deploymentOf(attempt: Attempt): NonNullable<AgentView['deployment']> {
  const { workflow, origin, updateId, installedCriteria, installs, reboots, installedTo, milestones } = attempt
  return {
    workflowId: workflow.id,
    action: workflow.action,
    origin,
    updateId: updateId ?? null,
    version: installedCriteria ?? null,
    ...{ installs, reboots, installedTo: installedTo ?? null, milestones, ended: attempt.result !== undefined },
  }
}

function trialOf(attempt: Attempt, flight: Flight): AgentView['lastTrial'] {
  return {
    workflowId: attempt.workflow.id,
    summary: flightClause(flight, judgedBy(attempt.cause)),
    boots: flight.map(({ id, milestones, end = null }) => ({
      ...{ id, end },
      milestones: milestones.map(({ name, seconds, text = null }) => ({ name, seconds, text })),
    })),
  }
}

function resultOf({ workflow, reported }: Attempt, result: NonNullable<Attempt['result']>) {
  return {
    workflowId: workflow.id,
    resultCode: result.resultCode,
    extendedResultCodes: result.extendedResultCodes.map(ercText),
    details: result.resultDetails,
    reported,
  }
}
