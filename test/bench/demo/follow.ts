import { open } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'

const LOOK_MS = 40

/** Calls `onLine` with each line of the file, and with each that is added to it, until `signal` aborts. */
export async function followLines(path: string, onLine: (line: string) => void, signal: AbortSignal): Promise<void> {
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
      for (const line of lines) onLine(line)
    }
    await sleep(LOOK_MS, undefined, { signal }).catch(() => undefined)
  }
}
