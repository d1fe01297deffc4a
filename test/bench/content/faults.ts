/** What goes wrong with a file; several may hold at once. Offsets count bytes of the file, not of the answer. */
export interface Fault {
  /** Number of requests until the fault ends; absent: it stays. */
  times?: number
  /** Answers with this status and no content, such as 503. */
  status?: number
  /** Seconds, sent with `status`. */
  retryAfter?: number
  /** Answers 302 with this address. */
  redirect?: string
  /** Drops the connection before this byte of each answer. */
  cutAfter?: number
  /** Sends this many bytes of each answer, then nothing more, and keeps the connection open. */
  stallAfter?: number
  /** Never faster than this. */
  bytesPerSecond?: number
  /** Answers every request with the whole file. */
  noRanges?: boolean
  /** `shifted`: bytes of another place under the right header; `start`: the header of another place; `length`: the header claims another file size. */
  wrongRange?: 'shifted' | 'start' | 'length'
  /** The file seems to end here: a shorter one, in good order. */
  truncateAt?: number
  /** Bytes after the file's end; `endless` never stops and says no length. */
  extraBytes?: number | 'endless'
  /** This byte of the file is wrong. */
  flipByteAt?: number
  /** Says that the bytes are in this content encoding, such as `gzip`. */
  encoding?: string
  /** Instead of the real one; `changing`: another one for every answer. */
  etag?: string
}

/** Faults by path below the server's folder, such as `f0123/update.swu`; `*` is for every file without its own. */
export type Faults = Record<string, Fault>

/** The fault for one request, used up if it is for a number of times only. */
export function takeFault(faults: Faults, path: string): Fault {
  const key = path in faults ? path : '*'
  const fault = faults[key]
  if (!fault) return {}
  if (fault.times === undefined) return fault
  fault.times -= 1
  if (fault.times <= 0) delete faults[key]
  return fault
}
