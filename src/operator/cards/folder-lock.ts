import { spawnSync } from 'node:child_process'
import { closeSync, mkdirSync, openSync } from 'node:fs'
import { EXIT, Failure, messageOf } from '../failure.ts'

/** Exit code of flock(1) when another process has the lock. */
const TAKEN = 75

/**
 * Makes `folder` ours alone, and gives what ends that: two calls would mix the keys of their devices. The kernel's lock belongs to the
 * open folder, so it ends with this process and is never stale. Node has no call for it, so flock(1) locks the descriptor that we
 * pass. Errors: Failure.
 */
export function lockFolder(folder: string): () => void {
  const failed = (why: string, cause?: unknown) => new Failure(EXIT.unavailable, why, { cause })
  let lock: number
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    lock = openSync(folder, 'r')
  } catch (cause) {
    throw failed(`cannot write ${folder}: ${messageOf(cause)}`, cause)
  }
  const argv = ['--exclusive', '--nonblock', '--conflict-exit-code', String(TAKEN), '3']
  const { status, error, stderr } = spawnSync('flock', argv, { stdio: ['ignore', 'ignore', 'pipe', lock] })
  if (status === 0) return () => closeSync(lock)
  closeSync(lock)
  if (status === TAKEN) throw failed(`another call writes to ${folder}: wait for its end, or use another --out`)
  const why = error ? messageOf(error) : stderr.toString().trim()
  throw failed(`cannot lock ${folder}: ${why}; use a folder on a local disk`)
}
