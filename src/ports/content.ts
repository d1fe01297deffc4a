import type { Contract } from './contract.ts'

/** The answer to one GET. */
export interface ContentPart {
  /** Offset in the file of the first byte of `body`: as requested, or 0 if the server does not support ranges. */
  readonly first: number
  /** Offset of the last byte of `body`, if the server gives it. */
  readonly last: number | undefined
  /** Size of the whole file in bytes, if the server gives it. */
  readonly total: number | undefined
  /** Changes when the file does. */
  readonly etag: string | undefined
  /**
   * Ends when the server ends it, which may be early. Throws ContentError when the connection breaks or stalls. A piece is valid
   * until the next is requested.
   */
  readonly body: AsyncIterable<Buffer>
}

/** Who gave a URL, which decides the hosts that it may lead to. */
export type ContentOrigin = 'twin' | 'method' | 'local'

/** Offsets in the file; `last` is included. */
export interface ContentRange {
  readonly origin: ContentOrigin
  readonly first: number
  readonly last: number
  /** ETag the range must belong to (If-Range). If the file has another one, the server answers with the whole file. */
  readonly etag?: string
}

/** Downloads the files of an update. */
export interface Content {
  /**
   * One GET. The next one for the same file may be requested while a body is still being read; it then follows without a
   * pause. The caller must read every body to its end, in the order of the requests, or abort `signal`. Follows redirects; `origin`
   * must be allowed to use each address on the way.
   */
  get(url: string, range: ContentRange, signal: AbortSignal): Promise<ContentPart>
}

export const contentContract: Contract<Content & ContentPart> = {
  get: ['ContentError'],
  body: ['ContentError'],
}
