import { open } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'

const LOOK_MS = 40

/** Calls `onRecord` with each JSON line that is added to the file from now on, until `signal` aborts. */
export async function follow(
  path: string,
  onRecord: (record: Record<string, unknown>) => void,
  signal: AbortSignal,
): Promise<void> {
  let at = 0
  let rest = ''
  while (!signal.aborted) {
    const file = await open(path).catch(() => undefined)
    if (file) {
      const { size } = await file.stat()
      const { buffer, bytesRead } = await file.read(Buffer.alloc(Math.max(0, size - at)), 0, undefined, at)
      await file.close()
      at += bytesRead
      const lines = (rest + buffer.toString('utf8', 0, bytesRead)).split('\n')
      rest = lines.pop()!
      for (const line of lines) {
        const record = parsed(line)
        if (record) onRecord(record)
      }
    }
    await sleep(LOOK_MS, undefined, { signal }).catch(() => undefined)
  }
}

/** Other programs of the device write into the same log, and a power cut may tear a line. */
function parsed(line: string): Record<string, unknown> | undefined {
  try {
    const value = JSON.parse(line)
    return typeof value === 'object' && value !== null ? value : undefined
  } catch {
    return undefined
  }
}
