import type { AgentEvent } from '../../../src/view/event.ts'
import type { ImportedUpdate, UpdateDescription } from '../authoring/manifest.ts'
import type { Bench } from '../bench.ts'
import type { BootEnv, SlotName } from '../workbench/boot-env.ts'
import type { BundleSigner } from '../workbench/bundle-key.ts'

/** A system as a story tells it; what else is in it is the device's affair. */
export interface DemoSystem {
  readonly version: string
  /** The owner's health checks: name → shell script. */
  readonly healthChecks: Readonly<Record<string, string>>
}

/** What a device is made from. */
export interface DeviceMeans {
  readonly bench: Bench
  /** The creator of the device has registered it at the hub. */
  readonly id: string
  /** What the device has at first, in slot a. */
  readonly system: DemoSystem
  /** Over the `piAdu` section of its configuration. */
  readonly piAdu: Readonly<Record<string, object | string>>
  /** Whether it takes steps that are not images. Only the workbench can. */
  readonly steps: boolean
  /** For what takes room. */
  readonly dir: string
  readonly signal: AbortSignal
  /** Called with what is being built, if that takes long. */
  readonly note: (what: string) => void
}

export interface Boot {
  readonly slot: SlotName
  /** Why this slot. */
  readonly reason: string
  /** Trial boots that are left. */
  readonly tries: number
  /** Why the device started at all. */
  readonly cause: string
}

/** What a device says of itself. `at`: milliseconds since the epoch. */
export interface DeviceListener {
  onBoot(boot: Boot, at: number): void
  /** The agent has told this. */
  onEvent(event: AgentEvent, at: number): void
}

/**
 * A device that was just flashed and given its identity, and is off. What is read of it is looked up from outside: nothing
 * is the agent's word.
 */
export interface DemoDevice {
  /** How updates for it are described when they are imported. */
  readonly update: Partial<UpdateDescription>
  /** Longer than anything a story waits for takes on a slow machine, in milliseconds. */
  readonly patienceMs: number
  /** How often the boot state may be read, in milliseconds: often enough to be seen, seldom enough not to be felt. */
  readonly lookMs: number
  /** Builds a bundle with the system and returns its path. Default signer: the owner. */
  buildBundle(system: DemoSystem, by?: BundleSigner): Promise<string>
  /** Where the device finds the files of an update, by their ids. */
  fileUrls(update: ImportedUpdate): Readonly<Record<string, string>>
  /** It is booting when this returns. */
  powerOn(): Promise<void>
  /** As when the plug is pulled; nothing of it runs when this returns. */
  powerCut(): Promise<void>
  /** Tells all that it says of itself, until `signal` aborts. */
  follow(listener: DeviceListener, signal: AbortSignal): Promise<void>
  readBootState(): Promise<BootEnv | undefined>
  /** `/etc/adu-version` in the slot; undefined without a readable system. */
  readVersion(slot: SlotName): Promise<string | undefined>
  /** The slot that was started, and `/etc/adu-version` of the system that runs. The device is on. */
  running(): Promise<{ readonly slot: SlotName | undefined; readonly version: string }>
  /** What was written since it was flashed, as it lies on disk. */
  written(): Promise<{ readonly where: string; readonly bytes: number }>
}
