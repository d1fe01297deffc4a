import { type Attempt, slotOnTrial } from '../domain/attempt.ts'
import type { Deploy, Deployment, Named } from '../domain/deployment.ts'
import { AgentError } from '../domain/errors.ts'
import { flightKeyOf } from '../domain/flight.ts'
import { ALL_OPEN, closedOf, type GateSettings, gatesOf, NO_GATES } from '../gates/gates.ts'
import type { JournalContent } from '../ports/journal.ts'
import type { Ports } from '../ports/ports.ts'
import type { TwinSide } from '../sources/device-update/twin-side.ts'
import type { OnceSource } from '../sources/once-source.ts'
import type { Known, Observed } from './action.ts'
import { isFor } from './answered.ts'
import { type DowngradePolicy, lowestVersion } from './downgrade.ts'
import type { TrialHealth } from './trial-health.ts'

/** What the loop observes. */
export interface Observable {
  /** Names this process. */
  readonly process: string
  readonly memory: Memory
  readonly ports: Pick<Ports, 'boot' | 'host' | 'journal' | 'conditions' | 'flight' | 'clock'>
  readonly twin: Pick<TwinSide, 'deployment' | 'isVerifying' | 'connected'> & Partial<Pick<TwinSide, 'wasConnected'>>
  readonly once: Pick<OnceSource, 'request' | 'recalled'>
  readonly trial: TrialHealth
  readonly downgrade: DowngradePolicy
  readonly gates: GateSettings
}

/** The deployment that the attempt is for, which the twin may not show any more while a step comes to its end. */
export class Memory {
  #shown: (Named & Deploy) | undefined

  current(deployment: Deployment | undefined, attempt: Attempt | undefined): (Named & Deploy) | undefined {
    if (!attempt || attempt.result) this.#shown = undefined
    else if (deployment?.kind === 'deploy' && isFor(deployment, attempt)) this.#shown = deployment
    return this.#shown && attempt && isFor(this.#shown, attempt) ? this.#shown : undefined
  }
}

/** Observes everything that the decision needs. Only reads. */
export async function observe(observable: Observable, signal: AbortSignal): Promise<Observed> {
  const { ports, twin, once, trial, downgrade } = observable
  const { request } = once
  const isRollback = request?.kind === 'command' && request.command === 'rollback'
  const boot = await ports.boot.read(signal)
  const version = await ports.host.version()
  const { attempt, lost } = knownFrom(await ports.journal.read())
  const isTrial = boot.trial === 'pending' && boot.booted === boot.primary
  const { health, milestones } = isTrial ? await trial.look(twin.connected, attempt, signal) : NO_TRIAL
  // An idle device and a trial have nothing that could wait.
  const isOpen = attempt !== undefined && !attempt.reported
  const mayWait = !isTrial && (isOpen || twin.deployment !== undefined || request !== undefined)
  const waits = attempt !== undefined && !attempt.result && attempt.steps.some(({ bootId }) => bootId !== undefined)
  return {
    ...(waits ? { here: { bootId: await ports.host.bootId(), process: observable.process } } : {}),
    ...currentOf(observable, attempt),
    ...{ boot, attempt, lost, version, health, milestones },
    ...(boot.trial === 'failed' && attempt && slotOnTrial(attempt) !== undefined
      ? { flight: await ports.flight.read(flightKeyOf(attempt)) }
      : {}),
    ...(mayWait ? await observeGates(observable, attempt) : NOTHING_WAITS),
    lowest: lowestVersion(downgrade, attempt, version),
    minimumVersion: downgrade.minimumVersion,
    deployment: twin.deployment,
    // A method call waits until the twin's deployment is known.
    request: twin.isVerifying && request?.kind !== 'command' ? undefined : request,
    ...(isRollback ? { held: await heldBy(ports) } : {}),
    ...{ connected: twin.connected, wasConnected: twin.connected || twin.wasConnected === true },
  }
}

/** What the attempt is for: as its folder has it, or as the twin shows it. */
function currentOf(
  { memory, twin, once }: Observable,
  attempt: Attempt | undefined,
): Pick<Observed, 'current' | 'gone'> {
  if (!attempt?.own?.list || attempt.result) return { current: memory.current(twin.deployment, attempt) }
  const recalled = once.recalled?.(attempt)
  return recalled instanceof AgentError ? { gone: recalled } : { current: recalled }
}

/**
 * When the journal is lost, a deployment starts from the beginning. That is safe for an image, and a trial is settled by
 * its health. `begun` marks the steps that must not run twice.
 */
export const knownFrom = (content: JournalContent): Known => ({
  attempt: content.is === 'attempt' ? content.attempt : undefined,
  lost: content.is === 'lost' ? content.why : undefined,
})

/** What this device lets `attempt` do now. */
export async function observeGates(
  { ports, gates }: { readonly ports: Pick<Ports, 'conditions' | 'clock'>; readonly gates: GateSettings },
  attempt: Attempt | undefined,
): Promise<Pick<Observed, 'gates' | 'consented'>> {
  const facts = await ports.conditions.read()
  // Of an attempt that has ended, no deadline is left.
  const begun = attempt && !attempt.result ? Date.parse(attempt.times.begun) : undefined
  return { gates: gatesOf(gates, facts, ports.clock.now().getTime(), begun), consented: facts.consent === true }
}

/**
 * A person at the device need not wait for a window or for consent: only for what must not be interrupted. Nor for a voltage that was
 * too low in the past, which ends only with a restart.
 */
async function heldBy({ conditions, clock }: Pick<Ports, 'conditions' | 'clock'>): Promise<string | undefined> {
  const gates = gatesOf(
    NO_GATES,
    { ...(await conditions.read()), wasUnderVoltage: false },
    clock.now().getTime(),
    undefined,
  )
  return closedOf(gates, ['reboot'])?.why
}

const NOTHING_WAITS = { gates: ALL_OPEN, consented: false } as const
const NO_TRIAL = { health: { state: 'unknown' }, milestones: [] } as const
