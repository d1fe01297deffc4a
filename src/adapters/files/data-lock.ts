import { ftruncateSync, mkdirSync, openSync, readFileSync, statSync, writeSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { ConfigError, InUseError, messageOf, ProcessError, WrongUserError } from '../../domain/errors.ts'
import { run } from '../system/exec.ts'

/** Exit code of flock(1) when another process has the lock. */
const TAKEN = 75

/**
 * Allows one agent per data folder: two would write the same slot and disconnect each other from the hub. The kernel's lock belongs
 * to the open file, so it ends with this process, and none is left after a power cut. Node has no call for it, so flock(1) locks the
 * file that we pass. Nothing is written before the lock is taken. `user`: the user id of this process. Errors: InUseError,
 * WrongUserError, ConfigError.
 */
export async function lockDataFolder(folder: string, user = process.getuid?.()): Promise<void> {
  const owner = ownerOf(folder)
  if (user === 0 && owner !== undefined && owner !== 0) {
    throw new WrongUserError(
      `${folder} belongs to the user ${nameOf(owner)}, and root's files in it would stop that user's agent: ` +
        `start the service (systemctl start pi-adu-agent), or run it as that user (sudo -u ${nameOf(owner)} pi-adu run)`,
    )
  }
  const file = join(folder, 'lock')
  const lock = opened(folder, file)
  try {
    const options = { signal: new AbortController().signal, timeout: 10_000, pass: [lock], code: 'INTERNAL' } as const
    await run(['flock', '--nonblock', '--conflict-exit-code', String(TAKEN), '3'], options)
  } catch (error) {
    if (error instanceof ProcessError && error.exitCode === TAKEN) {
      const holder = /^\d+/.exec(readFileSync(file, 'utf8'))?.[0]
      const who = holder === undefined ? 'another process' : `process ${holder}`
      throw new InUseError(
        `an agent runs on ${folder} already: ${who}. Stop it first (systemctl stop pi-adu-agent, or kill ${holder ?? 'it'})`,
      )
    }
    throw new ConfigError(`${file} cannot be locked: ${messageOf(error)}`, { cause: error })
  }
  ftruncateSync(lock)
  writeSync(lock, `${process.pid}\n`)
}

/** Whether an agent runs on this data folder, as far as this user can see. Changes nothing. */
export async function isLocked(folder: string): Promise<boolean> {
  const file = await open(join(folder, 'lock')).catch(error => error as NodeJS.ErrnoException)
  // Who may not look at the lock must not disturb its holder either.
  if (file instanceof Error) return file.code !== 'ENOENT'
  try {
    const options = {
      signal: new AbortController().signal,
      timeout: 10_000,
      pass: [file.fd],
      code: 'INTERNAL',
    } as const
    await run(['flock', '--shared', '--nonblock', '--conflict-exit-code', String(TAKEN), '3'], options)
    return false
  } catch (error) {
    return error instanceof ProcessError && error.exitCode === TAKEN
  } finally {
    await file.close()
  }
}

/** Never closed: the lock lasts as long as this process. */
function opened(folder: string, file: string): number {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    return openSync(file, 'a+', 0o600)
  } catch (cause) {
    throw new ConfigError(`the data folder ${folder} cannot be written to: ${messageOf(cause)}`, { cause })
  }
}

function ownerOf(folder: string): number | undefined {
  try {
    return statSync(folder).uid
  } catch {
    return undefined
  }
}

/** The name in passwd(5), or the number with a `#`, as sudo accepts it. */
function nameOf(user: number): string {
  const names = new RegExp(`^([^:]+):[^:]*:${user}:`, 'm')
  try {
    return names.exec(readFileSync('/etc/passwd', 'utf8'))?.[1] ?? `#${user}`
  } catch {
    return `#${user}`
  }
}
