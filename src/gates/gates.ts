import type { GateName, LocalFacts } from '../domain/gate.ts'
import type { Schedule } from './window.ts'

/** The first closed one of `names`. */
export function closedOf(gates: Gates, names: readonly GateName[]): ClosedGate | undefined {
  for (const gate of names) {
    const state = gates[gate]
    if (state.open) continue
    const { open: _, ...closed } = state
    return { gate, ...closed }
  }
  return undefined
}

/** Why a gate is closed. */
interface Reason {
  readonly why: string
  /** When this reason may end, in milliseconds since 1970; undefined when unknown. */
  readonly until: number | undefined
  /** A person can open it now, by consent. */
  readonly asks?: true
}

export interface ClosedGate extends Reason {
  readonly gate: GateName
}

/** What an update must wait for, from the configuration. */
export interface GateSettings {
  /** When each gate may open; a gate without windows may open at any time. */
  readonly windows: { readonly [Name in GateName]?: Schedule | undefined }
  /** Whether a window counts as open while the clock cannot be trusted. */
  readonly openWithoutTime: boolean
  /** The gate that waits for consent. */
  readonly consentFor: GateName | undefined
  /** Per cent below which a battery that is being discharged is too empty; undefined: it does not count. */
  readonly batteryBelow: number | undefined
  /** Milliseconds after which an update no longer waits; undefined: no limit. */
  readonly deadline: number | undefined
}

/** Only a lock, a busy device or a supply voltage that is too low closes a gate. */
export const NO_GATES: GateSettings = {
  windows: {},
  openWithoutTime: false,
  consentFor: undefined,
  batteryBelow: undefined,
  deadline: undefined,
}

export type GateState = { readonly open: true } | ({ readonly open: false } & Reason)

export type Gates = Readonly<Record<GateName, GateState>>

export const ALL_OPEN: Gates = { download: { open: true }, install: { open: true }, reboot: { open: true } }

const OPEN: GateState = { open: true }
const closed = (why: string, until?: number): GateState => ({ open: false, why, until })

/**
 * Whether the update that began at `begun` may continue. `now` and `begun`: milliseconds since 1970. The deadline overrides
 * every reason except the power of this moment: what is written at too low a voltage cannot be relied on. Pure.
 */
export function gatesOf(settings: GateSettings, facts: LocalFacts, now: number, begun: number | undefined): Gates {
  const { deadline } = settings
  const hasBegun = facts.timeTrusted && begun !== undefined && begun >= facts.notBefore
  const isOverdue = hasBegun && deadline !== undefined && now - begun >= deadline
  const gate = (name: GateName): GateState => {
    const weak = powerGate(settings, facts, name)
    if (weak || isOverdue) return weak ?? OPEN
    return (
      windowGate(settings, facts, name, now) ??
      lockGate(facts, name, now) ??
      surroundingsGate(facts, name) ??
      consentGate(settings, facts, name) ??
      OPEN
    )
  }
  return { download: gate('download'), install: gate('install'), reboot: gate('reboot') }
}

function powerGate({ batteryBelow }: GateSettings, facts: LocalFacts, name: GateName): GateState | undefined {
  const { underVoltage, battery } = facts
  if (name === 'download') return undefined
  if (underVoltage) return closed('the supply voltage is too low')
  if (batteryBelow === undefined || battery === undefined || battery >= batteryBelow) return undefined
  return closed(`the battery has ${battery} %, and an update needs ${batteryBelow} % or a charger`)
}

function surroundingsGate({ wasUnderVoltage, metered, busy }: LocalFacts, name: GateName): GateState | undefined {
  if (busy !== undefined) return closed(`the ${name} waits until the device is idle: ${busy}`)
  if (name === 'download')
    return metered === undefined
      ? undefined
      : closed(`the download waits for a network that is not metered: ${metered}`)
  return wasUnderVoltage ? closed('the supply voltage was too low since this device was started') : undefined
}

function windowGate(
  { windows, openWithoutTime }: GateSettings,
  { timeTrusted }: LocalFacts,
  name: GateName,
  now: number,
): GateState | undefined {
  const schedule = windows[name]
  if (!schedule) return undefined
  if (!timeTrusted) return openWithoutTime ? undefined : closed(`the ${name} waits until the clock is synchronised`)
  const opening = schedule(now)
  if (opening.open) return undefined
  const { until } = opening
  if (until === undefined) return closed(`the ${name} waits for its time window, which never opens`)
  return closed(
    `the ${name} waits for its time window, which opens at ${new Date(until).toISOString().slice(0, 16)}Z`,
    until,
  )
}

function lockGate({ locks, timeTrusted }: LocalFacts, name: GateName, now: number): GateState | undefined {
  // A lock with an end counts as over only when the clock can be trusted.
  const lock = locks.find(
    ({ gates, until }) => gates.includes(name) && !(timeTrusted && until !== undefined && until <= now),
  )
  if (!lock) return undefined
  const until = lock.until !== undefined && lock.until > now ? lock.until : undefined
  return closed(`the ${name} is locked by ${lock.name}${lock.why ? `: ${lock.why}` : ''}`, until)
}

function consentGate({ consentFor }: GateSettings, { consent }: LocalFacts, name: GateName): GateState | undefined {
  if (consentFor !== name || consent !== false) return undefined
  return { open: false, why: `the ${name} waits for consent`, until: undefined, asks: true }
}
