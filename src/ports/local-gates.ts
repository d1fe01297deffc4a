import type { GateName } from '../domain/gate.ts'

export interface LockRequest {
  /** Letters, digits, `.`, `_` and `-`; the first is a letter or a digit. */
  readonly name: string
  readonly gates: readonly GateName[]
  readonly seconds: number
  readonly why: string | undefined
}

/** The gates that a person or a program at the device opens and closes. Errors: AgentError `INTERNAL`, with what to do. */
export interface LocalGates {
  /** Consents to the update that waits. Undefined: this device asks nobody. */
  consent(): Promise<true | undefined>
  /**
   * Takes a lock that ends with this process at the latest, and replaces one of the same name. Returns a function that gives
   * it back, unless it was replaced or unlocked meanwhile.
   */
  hold(lock: LockRequest): () => void
  /** Takes a lock that outlives this process. `false`: the clock is wrong, so it is only held. */
  keep(lock: LockRequest): Promise<boolean>
  /** Removes the lock, whoever took it; false when there was none. */
  unlock(name: string): Promise<boolean>
}
