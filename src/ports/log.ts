/** One JSON line per call. `event` is constant; never pass a twin, a signed URL or a key. */
export interface Log {
  debug(event: string, fields?: Readonly<Record<string, unknown>>): void
  info(event: string, fields?: Readonly<Record<string, unknown>>): void
  warn(event: string, fields?: Readonly<Record<string, unknown>>): void
  error(event: string, fields?: Readonly<Record<string, unknown>>): void
}

/** For whoever only looks, and says what was found by itself. */
export const SILENT: Log = { debug() {}, info() {}, warn() {}, error() {} }
