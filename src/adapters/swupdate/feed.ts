import type { BundleStream } from './bundle-stream.ts'
import type { StallWatch } from './stall.ts'

/** A bundle whose first piece can be awaited before the bundle is passed on. */
export interface Early extends AsyncIterator<Buffer> {
  begin(): Promise<void>
}

export function early(bundle: AsyncIterator<Buffer>): Early {
  let first: IteratorResult<Buffer> | undefined
  return {
    async begin() {
      first = await bundle.next()
    },
    async next() {
      const next = first ?? (await bundle.next())
      first = undefined
      return next
    },
    async return() {
      await bundle.return?.()
      return { done: true, value: undefined }
    },
  }
}

/** Writes `bundle` to its end, or until SWUpdate stops reading. Requests the next piece when the kernel has this one. */
export async function feed(bundle: AsyncIterator<Buffer>, stream: BundleStream, stall: StallWatch): Promise<void> {
  for (let next = await bundle.next(); !next.done; next = await bundle.next()) {
    if (!(await stall.during(stream.write(next.value)))) return
  }
  stream.end()
}
