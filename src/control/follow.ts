import { setTimeout as sleep } from 'node:timers/promises'
import { ControlError, watchAgent } from './client.ts'
import type { Line } from './protocol.ts'

export interface FollowOptions {
  readonly onLine: (line: Line) => void
  /** Called when the agent has ended or is not running. */
  readonly onLost?: () => void
  /** Milliseconds between two connection attempts. Default: 500. */
  readonly again?: number
}

/**
 * Follows the agents that listen at `path`, one after another, until `signal` aborts. Passes on every event once, and the
 * view after every change. Errors: ControlError when this user may not connect.
 */
export async function followAgents(path: string, { onLine, onLost, again = 500 }: FollowOptions, signal: AbortSignal) {
  let last = { agent: '', n: 0 }
  while (!signal.aborted) {
    try {
      for await (const line of watchAgent(path, signal, 0)) {
        if ('event' in line) {
          // After a client was closed as too slow, the same agent sends kept events again.
          if (line.n <= last.n) continue
          last = { ...last, n: line.n }
        } else if ('view' in line) {
          const agent = JSON.stringify(line.view.agent)
          if (agent !== last.agent) last = { agent, n: 0 }
        }
        onLine(line)
      }
    } catch (error) {
      if (!(error instanceof ControlError) || error.kind === 'denied') throw error
    }
    if (!signal.aborted) onLost?.()
    await sleep(again, undefined, { signal }).catch(() => {})
  }
}
