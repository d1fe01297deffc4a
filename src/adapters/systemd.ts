import { execFile } from 'node:child_process'
import { messageOf } from '../domain/errors.ts'
import type { Log } from '../ports.ts'

/**
 * Tells systemd that the agent is up, and from then on that it is alive, at a third of the unit's `WatchdogSec`: a process
 * whose event loop stands still is restarted (sd_notify(3)). Does nothing where systemd did not start us as `Type=notify`.
 * Returns what ends it. `systemd-notify` is a program because Node has no Unix datagram sockets; not run through execa,
 * which an idle agent need not load.
 */
export function tellSystemd(log: Log, environment: NodeJS.ProcessEnv = process.env): () => void {
  if (environment.NOTIFY_SOCKET === undefined) return () => {}
  const notify = (state: string): void => {
    execFile('systemd-notify', [state], { env: environment, timeout: 10_000 }, error => {
      if (error) log.warn('systemd.unreachable', { state, why: messageOf(error) })
    })
  }
  notify('READY=1')
  const microseconds = Number(environment.WATCHDOG_USEC)
  if (!(microseconds > 0)) return () => {}
  const timer = setInterval(() => notify('WATCHDOG=1'), microseconds / 3000)
  return () => clearInterval(timer)
}
