import type { Look } from '../view/changes.ts'
import type { AgentEvent } from '../view/event.ts'

/** Receives what the agent does, for the log, the lights and other readers. Never fails, never blocks. */
export interface Events {
  /** Something has happened. */
  tell(event: AgentEvent): void
  /** The loop has looked, and is about to act. */
  saw(look: Look): void
}
