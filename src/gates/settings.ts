import { GATE_NAMES, type GateName } from '../domain/gate.ts'
import type { GateSettings } from './gates.ts'
import { type Schedule, scheduleOf, windowOf } from './window.ts'

/** The gates as written in the configuration. */
export interface GateSection extends Readonly<Record<GateName, readonly string[]>> {
  /** IANA name; undefined: the system's. */
  readonly timeZone?: string
  readonly openWithoutTime: boolean
  readonly consentFor?: GateName
  readonly batteryBelow?: number
  readonly deadlineHours?: number
}

/** The texts have been validated; one that is not a window opens nothing. `zone`: IANA name; undefined: the system's. */
export const scheduleFrom = (windows: readonly string[], zone: string | undefined): Promise<Schedule> =>
  scheduleOf(
    windows.map(windowOf).filter(window => window !== undefined),
    zone,
  )

/** The section has been validated. */
export async function gateSettingsOf(section: GateSection): Promise<GateSettings> {
  const windows: Partial<Record<GateName, GateSettings['windows'][GateName]>> = {}
  for (const name of GATE_NAMES) {
    if (section[name].length === 0) continue
    windows[name] = await scheduleFrom(section[name], section.timeZone)
  }
  const { openWithoutTime, consentFor, batteryBelow, deadlineHours } = section
  return {
    windows,
    openWithoutTime,
    consentFor,
    batteryBelow,
    deadline: deadlineHours === undefined ? undefined : deadlineHours * 3600_000,
  }
}
