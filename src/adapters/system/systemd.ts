import { writeSync } from 'node:fs'
import { messageOf } from '../../domain/errors.ts'
import type { Log } from '../../ports/log.ts'
import { run } from './exec.ts'

const NEVER = new AbortController().signal

/** The unit's name for the socket that it opens for us (systemd.service(5), `OpenFile=`). */
const FD_NAME = 'notify'

/** The first descriptor that systemd passes on (sd_listen_fds(3)). */
const FIRST_FD = 3

/**
 * Tells systemd that the agent is up, and then feeds the watchdog every third of the unit's `WatchdogSec` while `stuck` returns
 * undefined. systemd restarts an agent that stops doing so (sd_notify(3)). Does nothing unless systemd started us as `Type=notify`.
 * Returns a function that ends it.
 */
export function tellSystemd(
  log: Log,
  stuck: () => string | undefined,
  environment: NodeJS.ProcessEnv = process.env,
): () => void {
  if (environment.NOTIFY_SOCKET === undefined) return () => {}
  const notify = notifier(log, environment)
  notify('READY=1')
  const microseconds = Number(environment.WATCHDOG_USEC)
  if (!(microseconds > 0)) return () => {}
  let told = false
  const timer = setInterval(() => {
    const why = stuck()
    if (why === undefined) notify('WATCHDOG=1')
    else if (!told) log.error('watchdog.not-fed', { why })
    told = why !== undefined
  }, microseconds / 3000)
  return () => clearInterval(timer)
}

/**
 * Node has no Unix datagram sockets, but it can write to one that systemd has opened. The message then comes from this process, and
 * the unit accepts no others. Without that socket `systemd-notify` is run, which needs `NotifyAccess=all`.
 */
function notifier(log: Log, environment: NodeJS.ProcessEnv): (state: string) => void {
  const complain = (state: string) => (error: unknown) =>
    log.warn('systemd.unreachable', { state, why: messageOf(error) })
  const fd = socketIn(environment)
  if (fd === undefined) {
    const options = { signal: NEVER, timeout: 10_000, env: environment, code: 'INTERNAL' } as const
    return state => void run(['systemd-notify', state], options).catch(complain(state))
  }
  return state => {
    try {
      writeSync(fd, state)
    } catch (error) {
      complain(state)(error)
    }
  }
}

function socketIn({ LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES = '' }: NodeJS.ProcessEnv): number | undefined {
  if (Number(LISTEN_PID) !== process.pid || !(Number(LISTEN_FDS) > 0)) return undefined
  const at = LISTEN_FDNAMES.split(':').indexOf(FD_NAME)
  return at < 0 ? undefined : FIRST_FD + at
}
