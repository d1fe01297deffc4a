import type { Writable } from 'node:stream'
import type { WebUrl } from '../domain/web-url.ts'
import type { Contract } from './contract.ts'

/** Where a log collection is uploaded. */
export interface LogPlace {
  /** A container with a shared access signature, which is secret. */
  readonly container: WebUrl
  /** Name of the blob in it, without a leading slash. */
  readonly blob: string
}

/** Requests to one blob, over one connection. */
export interface OpenBlob {
  /** One try to PUT `body`; resolves when the storage has it. `query` comes before the signature. */
  put(query: string, body: Buffer, headers: Readonly<Record<string, string>>): Promise<void>
  close(): void
}

/** What a log collection needs of this device and of the storage. */
export interface LogUpload {
  /** Notes on the disk that the upload for this operation begins, and says for which time, counted from 1. */
  begin(operationId: string): Promise<number>
  /** The agent ends as planned: the upload that began last for this operation does not count. */
  takeBack(operationId: string): Promise<void>
  /** Connects with the first request. */
  open(place: LogPlace, signal: AbortSignal): Promise<OpenBlob>
  /** Writes the support bundle, as it is made, and ends `out`. Rejects with the error of `out`, too. */
  bundle(out: Writable, signal: AbortSignal): Promise<void>
}

/** A ContentError has the code LOGS_UPLOAD. */
export const openBlobContract: Contract<OpenBlob> = { put: ['ContentError'] }

export const logUploadContract: Contract<LogUpload> = {
  begin: ['LOGS_BUNDLE'],
  takeBack: ['LOGS_BUNDLE'],
  open: [],
  bundle: ['LOGS_BUNDLE', 'ContentError'],
}
