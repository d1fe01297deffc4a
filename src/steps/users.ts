import { run } from '../adapters/system/exec.ts'
import { AgentError, ProcessError } from '../domain/errors.ts'
import type { StepSettings } from './settings.ts'
import type { Owner } from './step-folder.ts'
import type { VerifiedOrder } from './verified-order.ts'

/** Exit code of getent(1): there is no such user. */
const UNKNOWN = 2

/** Errors: AgentError `STEP_REFUSED` if this device has no such user, `STEP_SERVICE` if that could not be found out. */
export async function ownerOf(user: string, signal: AbortSignal): Promise<Owner> {
  const line = await run(['getent', 'passwd', user], { signal, timeout: 10_000, code: 'STEP_SERVICE' }).catch(error => {
    if (error instanceof ProcessError && error.exitCode === UNKNOWN) return ''
    throw error
  })
  const [, , uid = '', gid = ''] = line.split(':')
  if (!/^\d+$/.test(uid) || !/^\d+$/.test(gid)) {
    throw new AgentError(
      'STEP_REFUSED',
      `this device has no user "${user}" to run the step; create it (useradd --system ${user}), or name another one in scripts.user of the step service's settings`,
    )
  }
  return { uid: Number(uid), gid: Number(gid) }
}

/** Packages are the system's: only root installs them. Other work has the rights of a user for it, unless the owner says otherwise. */
export function runAsOf({ plan, handler }: VerifiedOrder['step'], { scripts }: StepSettings): string | undefined {
  if (process.getuid?.() !== 0 || plan.work.is === 'apt' || scripts.asRoot.includes(handler)) return undefined
  return scripts.user
}
