import type { WorkflowStep } from './next-step.ts'

/** What the light shows. */
export type Mood = 'connecting' | 'idle' | 'installing' | 'restarting' | 'trial' | 'failed'

/** A board's light is read from across a room: few moods, each for one question a person would ask. */
export function moodOf(step: WorkflowStep, seen: { readonly connected: boolean; readonly lastFailed: boolean }): Mood {
  switch (step.do) {
    case 'begin':
    case 'install':
    case 'activate':
      return 'installing'
    case 'reboot':
    case 'restart':
    case 'fallBack':
      return 'restarting'
    case 'commit':
      return 'trial'
    default:
      if (step.do === 'wait' && step.for === 'health') return 'trial'
      if (seen.lastFailed) return 'failed'
      return seen.connected ? 'idle' : 'connecting'
  }
}
