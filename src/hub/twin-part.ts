import type { Reported } from '../ports/hub.ts'

/** Sends a merge patch. Errors: HubError when there is no connection, or no answer; HubRejection. */
export type SendReport = (patch: Reported) => Promise<void>

/**
 * A part of the twin beside the deployment, which must never disturb it. Every member returns at once; what it throws
 * is logged, and nothing else comes of it.
 */
export interface TwinPart {
  /** On each connection, with all reported properties. `name`: as whom, `device` or `device/module`. */
  onConnected(reported: unknown, send: SendReport, name: string): void
  /** With all desired properties: after `onConnected`, and after each change. */
  onDesired(desired: unknown): void
  onLost(): void
}
