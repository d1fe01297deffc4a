import { programs } from '../adapters/system/exec.ts'

/** Milliseconds: a full card is slow. */
const PATIENCE = 600_000

/**
 * Removes files and folders as root where a step's user may write; what is not there is no error. By rm(1), which holds each folder
 * open: Node goes by path, and another process of that user can put a link in its way (tried: it then removes what the link leads to).
 * Errors: AgentError `WORK_FOLDER`.
 */
export async function removePaths(...paths: readonly string[]): Promise<void> {
  if (paths.length === 0) return
  const limits = { signal: new AbortController().signal, timeout: PATIENCE, code: 'WORK_FOLDER' } as const
  await programs.runQuietly(['rm', '-rf', '--', ...paths], limits)
}
