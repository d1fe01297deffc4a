import type { Component, SignedText } from '../domain/deployment.ts'
import type { StepResult } from '../domain/step-record.ts'
import type { Contract } from './contract.ts'

/** In this order, each at most once per start: `isInstalled` may come again before `install`. */
export type Verb = 'isInstalled' | 'download' | 'install' | 'apply' | 'cancel'

/** One verb of one step of a signed deployment. */
export interface StepOrder {
  /** Names the order: the same id attaches to the same run, or gets its recorded result. It never runs twice. */
  readonly id: string
  readonly signed: SignedText
  readonly path: readonly number[]
  readonly component?: Component
  readonly verb: Verb
  /** The folder with the step's files. Whoever runs the step copies and verifies them. */
  readonly folder: string
}

/** Carries out the steps that are not images. On a device, a small root service on the other side of a socket. */
export interface Steps {
  /**
   * Resolves with what the step says of itself: the result code of the verb (PROTOCOL.md, "Result codes"), 900 or 901 for
   * `isInstalled`. `progress`: percent. Abort leaves the order running; the same order attaches to it again.
   * An order with an empty `manifest` only attaches.
   * Errors: AgentError; `STEP_UNKNOWN`: the order was begun, and how far it came is unknown. `STEP_REFUSED`, with an empty `manifest`: it
   * was never begun.
   */
  run(order: StepOrder, progress: (percent: number) => void, signal: AbortSignal): Promise<StepResult>
}

export const stepsContract: Contract<Steps> = { run: ['STEP_SERVICE', 'STEP_REFUSED', 'STEP_UNKNOWN', 'TIMED_OUT'] }
