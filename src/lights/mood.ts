import { RESULT_CODE } from '../domain/result-codes.ts'
import type { Mood } from '../view/event.ts'
import { type AgentView, JUST_STARTED } from '../view/view.ts'

/** What the lights show of a view. `now`: seconds since the machine's start. Pure. */
export function moodOf(view: AgentView, now: number): Mood {
  const { phase, waitsFor } = view
  // This comes before everything else: somebody may be about to pull the plug.
  if (view.writing !== null) return 'writing'
  if (view.identifyUntil !== null) return 'identify'
  switch (phase) {
    case 'activating':
    case 'committing':
    case 'fallingBack':
    case 'installing':
      if (waitsFor?.what === 'retry') return 'waiting'
      return phase === 'installing' ? 'downloading' : 'writing'
    case 'rebooting':
      return 'rebooting'
    case 'trial':
      return 'trial'
    case 'waiting':
      return waitsFor?.what === 'consent' ? 'waitingForConsent' : 'waiting'
    default:
      return atRest(view, now)
  }
}

function atRest(view: AgentView, now: number): Mood {
  const { hub, deployment, lastResult, boot, configRefused, renewalRefused, stickRefused, updatedUntil } = view
  if (configRefused) return 'configRefused'
  // A running deployment has not failed, even if the previous one did.
  if (deployment?.ended && lastResult?.resultCode === RESULT_CODE.failure)
    return boot?.trial === 'failed' && deployment.reboots > 0 ? 'fellBack' : 'failed'
  if (renewalRefused !== null || stickRefused !== null) return 'failed'
  if (updatedUntil !== null && updatedUntil > now) return 'updated'
  if (hub.connected) return 'online'
  return hub.why === null || hub.why === JUST_STARTED ? 'starting' : 'offline'
}

/** Seconds from `now` until the mood of an unchanged view may change; undefined if it does not. */
export function untilMood({ updatedUntil }: AgentView, now: number): number | undefined {
  return updatedUntil !== null && updatedUntil > now ? updatedUntil - now : undefined
}
