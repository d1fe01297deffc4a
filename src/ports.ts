import type { Attempt, SelfSigned, Verified } from './domain/deployment.ts'
import type { BootState, SlotName } from './domain/slot.ts'
import type { Mood } from './workflow/mood.ts'

/** The bootloader. Every write is all or nothing, also across a power cut. Errors: AgentError `BOOT_STATE`. */
export interface BootControl {
  read(signal: AbortSignal): Promise<BootState>
  /** `slot` becomes primary, on trial. May be repeated. */
  tryNext(slot: SlotName, signal: AbortSignal): Promise<void>
  /** The booted slot is primary, with no trial: commits a good one, drops one not yet started. May be repeated. */
  keepBooted(signal: AbortSignal): Promise<void>
  /** The trial failed: the other slot is primary. May be repeated. */
  fallBack(signal: AbortSignal): Promise<void>
}

/** The properties of the device twin as received: nothing in them has been checked. */
export interface Twin {
  readonly desired: unknown
  readonly reported: unknown
}

/** JSON merge patch on the reported properties. */
export type Reported = Readonly<Record<string, unknown>>

/** The way to the hub. Errors of both interfaces: HubError, also when an answer does not come in time. */
export interface Hub {
  /** One attempt; resolves when connected and subscribed. */
  connect(signal: AbortSignal): Promise<HubConnection>
}

export interface MethodAnswer {
  /** As in HTTP; never 0. */
  readonly status: number
  readonly payload: unknown
}

/** `payload` is as received: nothing in it has been checked. */
export type MethodListener = (name: string, payload: unknown) => Promise<MethodAnswer>

/** One connection: never reconnects by itself. */
export interface HubConnection {
  /** The whole twin, as it is now. */
  readTwin(signal: AbortSignal): Promise<Twin>
  /** Resolves when the hub has accepted the patch. Safe to repeat. */
  report(patch: Reported, signal: AbortSignal): Promise<void>
  /** Called with each desired patch, in the order received. One listener. */
  onDesired(listener: (patch: unknown) => void): void
  /**
   * From now on `listener` answers calls of these direct methods. Once per connection. An answer that comes after the
   * connection is lost goes nowhere.
   */
  serve(names: readonly string[], listener: MethodListener): void
  /** Aborted, with a HubError as reason, once the connection is lost or closed. */
  readonly lost: AbortSignal
  close(): Promise<void>
}

/** What one GET gave. */
export interface ContentPart {
  /** Offset in the file of the first byte of `body`: as asked for, or 0 where the server does not serve ranges. */
  readonly first: number
  /** Of the last byte of `body`, where the server says it. */
  readonly last: number | undefined
  /** Size of the whole file in bytes, where the server says it. */
  readonly total: number | undefined
  /** Changes when the file does. */
  readonly etag: string | undefined
  /**
   * Ends when the server ends it, maybe early; throws ContentError when the connection breaks or stalls. Each piece is good
   * until the next is asked for.
   */
  readonly body: AsyncIterable<Buffer>
}

/** Offsets in the file, both included. */
export interface ContentRange {
  readonly first: number
  readonly last: number
  /** Of what the range is to be a part of: a server whose file has another one answers with the whole. */
  readonly etag?: string
}

/** Files of an update, from the network. */
export interface Content {
  /**
   * One GET. The next one of the same file may be asked for while a body is still being read: it then follows without a
   * pause. Every body is read to its end, in the order asked for, or `signal` is aborted, which ends what is not yet read.
   * Errors: ContentError.
   */
  get(url: string, range: ContentRange, signal: AbortSignal): Promise<ContentPart>
}

/** A bundle's bytes: from a signed manifest, or with the bundle's own signature only. */
export type Bundle = Verified<AsyncIterable<Buffer>> | SelfSigned<AsyncIterable<Buffer>>

/** Writes a bundle into a slot, after it has checked the bundle's own signature. */
export interface Installer {
  /**
   * Reads `bundle` to its end and installs it into the slot `into`, which must not be the booted one. When it resolves, all
   * of it is on the disk. Takes a piece of `bundle` as good until it asks for the next. If `bundle` throws, that
   * error is thrown and nothing is usable in `into`. Abort stops the installation; `into` may be half written. Never touches
   * the boot state. A bundle that calls itself older than `lowest` is refused. Errors: ProcessError `SWUPDATE_FAILED`,
   * `CHILD_KILLED`; AgentError `WORK_FOLDER`, `SLOT`.
   */
  install(bundle: Bundle, into: SlotName, signal: AbortSignal, lowest?: string): Promise<void>
}

/** A part of a bundle that is in the slot already. */
export interface Leftover {
  /** Offsets in the bundle; `end` is not included. */
  readonly first: number
  readonly end: number
  /** From `first` on, of which `head` is what comes before; may end early. A piece is good until the next is asked for. */
  bytes(head: Buffer): AsyncIterable<Buffer>
}

/**
 * What an installation that a power cut ended has left in its slot, so that it need not come from the network again. Only
 * a help: whether the bytes are right, the gate says.
 */
export interface Leftovers {
  find(sha256: Buffer, slot: SlotName): Promise<Leftover | undefined>
  /** The same bytes; notes how far they have come. `digest`: SHA-256 of all those given before the one that is asked for. */
  noting(bundle: AsyncIterable<Buffer>, sha256: Buffer, slot: SlotName, digest: () => Buffer): AsyncIterable<Buffer>
  forget(): Promise<void>
}

/** The one file that outlives a restart. */
export interface Journal {
  /** `undefined` when there is none, or none that can be read (which is logged). */
  read(): Promise<Attempt | undefined>
  /** All or nothing, and on the disk when it resolves. Errors: AgentError `JOURNAL`. */
  write(attempt: Attempt): Promise<void>
}

/** Where the newest root key package is kept. */
export interface KeyStore {
  /** As it was written; `undefined` when there is none. Errors: AgentError `PACKAGE_STORE`. */
  read(): Promise<Buffer | undefined>
  /** All or nothing, and on the disk when it resolves. Errors: AgentError `PACKAGE_STORE`. */
  write(bytes: Buffer): Promise<void>
}

/** The machine that the agent runs on. */
export interface Host {
  /** First line of the version file of the booted system; empty when it cannot be read, which is logged. */
  version(): Promise<string>
  /** Orders a reboot and returns; the process is then stopped from outside. Errors: AgentError `INTERNAL`. */
  reboot(signal: AbortSignal): Promise<void>
  /** Units of the booted system that have failed; none where they do not count. Errors: AgentError `HEALTH`. */
  failedUnits(signal: AbortSignal): Promise<readonly string[]>
  /**
   * Why the booted system is not healthy, one line per finding; empty when it is. Units that are `known` to have failed
   * before the update are none. Leaves out whether the hub is reached. Errors: AgentError `HEALTH`.
   */
  findings(signal: AbortSignal, known: readonly string[]): Promise<readonly string[]>
  /** Flat properties of the `deviceInformation` component (protocol, chapter 1.4). */
  information(): Promise<Readonly<Record<string, string | number>>>
}

/** Shows what the agent is doing. Never fails, never blocks. */
export interface Indicator {
  show(mood: Mood): void
}

export interface Clock {
  /** Milliseconds since some fixed point; never goes back. */
  monotonic(): number
  /** Wall clock, which may be wrong and may jump: for people to read, never to decide by. */
  now(): Date
  /** Rejects with the signal's reason on abort. */
  sleep(milliseconds: number, signal: AbortSignal): Promise<void>
  /** 0 ≤ x < 1, for jitter. */
  random(): number
}

/** One JSON line per call. `event` is constant; never pass a twin, a signed URL or a key. */
export interface Log {
  debug(event: string, fields?: Readonly<Record<string, unknown>>): void
  info(event: string, fields?: Readonly<Record<string, unknown>>): void
  warn(event: string, fields?: Readonly<Record<string, unknown>>): void
  error(event: string, fields?: Readonly<Record<string, unknown>>): void
}

export interface Ports {
  readonly boot: BootControl
  readonly hub: Hub
  readonly content: Content
  readonly installer: Installer
  /** Without them every installation begins at the first byte. */
  readonly leftovers?: Leftovers
  readonly journal: Journal
  readonly keyStore: KeyStore
  readonly host: Host
  readonly indicator: Indicator
  readonly clock: Clock
  readonly log: Log
}
