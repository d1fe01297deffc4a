import type { InstallResult } from '../domain/attempt.ts'
import type { UpdateId, Workflow } from '../domain/deployment.ts'
import type { Reported } from '../ports/hub.ts'
import type { Ports } from '../ports/ports.ts'
import type { Reading, Service } from '../trust/service.ts'
import type { Reporter } from './reporter.ts'

/** Whether both name the same attempt. */
export const isSameWork = (one: Workflow, two: Workflow): boolean =>
  one.id === two.id && one.retryTimestamp === two.retryTimestamp

/** What the device says about itself. */
export interface DeviceProperties {
  readonly manufacturer: string
  readonly model: string
  readonly additional: Readonly<Record<string, string>>
  /** Comma separated. */
  readonly compatPropertyNames: string
  readonly agentVersion: string
}

/**
 * What differs between the contracts of Device Update: the form of the twin. Everything that reads the twin takes whatever
 * is there, and never throws.
 */
export interface TwinContract {
  /** Announced on each connection. */
  readonly modelId: string
  read(desired: unknown): Reading
  /** Makes the names of a contract that has none; undefined: `read` gives them. One for each process. */
  naming?(ports: Pick<Ports, 'journal' | 'clock'>): NameWork
  acknowledgement(reading: Reading, version: number): Reported
  /** The version that the twin shows as acknowledged. */
  acknowledged(reported: unknown): number | undefined
  /** One patch; only sent if the twin does not show all of it. */
  startup(device: DeviceProperties, information: Readonly<Record<string, string | number>>, reported: unknown): Reported
  /** Tells whether the twin shows a workflow as ended. */
  showsEnd(reported: unknown): (workflow: Workflow) => boolean
  readonly reporter: Reporter
  /** Shows the update that runs when no workflow of the cloud brought it, null if none is known; undefined where a workflow alone can. */
  readonly installed?: (updateId: UpdateId | null) => Reported
  /** The final report from a device that cannot even keep a journal. */
  complaint(workflow: Workflow, result: InstallResult): Reported
}

/**
 * Gives the work its name. Called for each order at once, in their order; what it returns gives the order with the name, and may
 * be repeated after an error. Errors: AgentError `JOURNAL`.
 */
export type NameWork = (service: Service) => () => Promise<Service>
