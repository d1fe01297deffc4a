import { type BootControl, bootControlContract } from './boot-control.ts'
import type { Clock } from './clock.ts'
import { type Conditions, conditionsContract } from './conditions.ts'
import { type Content, contentContract } from './content.ts'
import type { Contract } from './contract.ts'
import type { Events } from './events.ts'
import { type FlightRecorder, flightRecorderContract } from './flight-recorder.ts'
import { type Host, hostContract } from './host.ts'
import { type Hub, hubContract } from './hub.ts'
import { type Installer, installerContract } from './installer.ts'
import { type Journal, journalContract } from './journal.ts'
import { type KeyStore, keyStoreContract } from './key-store.ts'
import { type Leftovers, leftoversContract } from './leftovers.ts'
import type { Log } from './log.ts'
import { type Steps, stepsContract } from './steps.ts'
import { type WorkFolder, workFolderContract } from './work-folder.ts'
import { type WorkNotes, workNotesContract } from './work-notes.ts'

/** Everything outside the process that the agent uses; each port has its own file. */
export interface Ports {
  readonly boot: BootControl
  readonly hub: Hub
  readonly content: Content
  readonly installer: Installer
  readonly leftovers: Leftovers
  readonly journal: Journal
  readonly workNotes: WorkNotes
  readonly keyStore: KeyStore
  readonly steps: Steps
  readonly workFolder: WorkFolder
  readonly host: Host
  readonly conditions: Conditions
  readonly flight: FlightRecorder
  readonly events: Events
  readonly clock: Clock
  readonly log: Log
}

/** What each port may throw, and what its results may throw. */
export const CONTRACTS = {
  boot: bootControlContract,
  hub: hubContract,
  content: contentContract,
  installer: installerContract,
  leftovers: leftoversContract,
  journal: journalContract,
  workNotes: workNotesContract,
  keyStore: keyStoreContract,
  steps: stepsContract,
  workFolder: workFolderContract,
  host: hostContract,
  conditions: conditionsContract,
  flight: flightRecorderContract,
  events: {},
  // Only the reason of an abort.
  clock: { sleep: [] },
  log: {},
} as const satisfies { readonly [Name in keyof Ports]: Contract<Ports[Name]> }
