import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { byLine, describe, type Ending, KILL_GRACE, Program, Tail } from '../adapters/system/program.ts'
import type { ProgramOptions } from '../ports/runner.ts'
import { closeWriters, drained, openPipes, type Pipes } from './pipes.ts'
import type { StepSettings } from './settings.ts'
import { unitCommand } from './unit.ts'
import { allowStart, unitEnding, type Words } from './unit-ending.ts'
import { ownerOf } from './users.ts'
import type { Job, Launched, LaunchOptions } from './worker.ts'

/** Makes the `launch` of one step, for its folder and the limits of the settings. */
export type Launcher = (folder: string, limits: StepSettings['limits']) => Job['launch']

/** Bytes of output that are kept. */
const TAIL = 8192

/** systemd ends the unit this long after our own time limit, in seconds, should this service be gone by then. */
const LATER = 60

/** All that a program gets to know of its surroundings. */
const ENVIRONMENT = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' }

/** Whether systemd runs this machine (sd_booted(3)). */
export const hasSystemd = (): boolean => existsSync('/run/systemd/system')

/**
 * In a transient unit: when its main process ends, or the limit is reached, systemd ends every process in it, whatever it has done
 * (fork, setsid, ignored SIGTERM). `service`: the unit of this service, if it has one; it ends what it has left (ExecStopPost=).
 */
export const unitLauncher =
  (service: string | undefined): Launcher =>
  (folder, limits) =>
  async (command, options) => {
    const unit = `pi-adu-step-${randomBytes(6).toString('hex')}.service`
    // Beside the step's folder, where the step's user may not write.
    const ending = `${folder}.${unit}`
    const timeout = timeoutOf(options, limits)
    const seconds = Math.ceil(timeout / 1000) + LATER
    const [first, ...rest] = unitCommand(command, {
      ...options,
      unit,
      service,
      folder,
      limits,
      seconds,
      env: environmentOf(folder, options),
      ending,
    })
    await allowStart(ending)
    // Only systemctl ends it: without systemd-run nobody would know how it ended.
    const never = new AbortController()
    const { input } = options
    const started = await start([first, ...rest], { signal: never.signal, input, env: cleared(ENVIRONMENT) })
    const stop = (): void => void stopUnit(unit, started.program.ended).catch(() => never.abort())
    const found = await watched(started, options, timeout, stop)
    return launched(await unitEnding(ending, found, limits.memoryMegabytes), found, options, timeout)
  }

/** In a process group of its own, where systemd does not run: a workbench, tests. What leaves the group is left alone. */
export const groupLauncher: Launcher = (folder, limits) => async (command, options) => {
  const control = new AbortController()
  const { input, cwd = folder, user } = options
  const env = cleared(environmentOf(folder, options))
  const whole = user === undefined ? command : await asUser(user, command, options.signal)
  const started = await start(whole, { signal: control.signal, input, cwd, env })
  const timeout = timeoutOf(options, limits)
  const found = await watched(started, options, timeout, () => control.abort())
  return launched(found.ending, found, options, timeout)
}

interface Started {
  readonly program: Program
  readonly pipes: Pipes
}

async function start(command: readonly [string, ...string[]], options: ProgramOptions): Promise<Started> {
  const pipes = await openPipes()
  try {
    return { program: new Program(command, { ...options, outputs: pipes.write }), pipes }
  } finally {
    closeWriters(pipes)
  }
}

async function asUser(
  user: string,
  command: readonly string[],
  signal: AbortSignal,
): Promise<readonly [string, ...string[]]> {
  const { uid, gid } = await ownerOf(user, signal)
  return ['setpriv', `--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', '--no-new-privs', ...command]
}

const timeoutOf = (
  { timeout = Number.POSITIVE_INFINITY }: LaunchOptions,
  { seconds }: StepSettings['limits'],
): number => Math.min(timeout, seconds * 1000)

const environmentOf = (folder: string, { env }: LaunchOptions): Readonly<Record<string, string>> => ({
  ...ENVIRONMENT,
  HOME: folder,
  ...env,
})

/** `Program` adds to our own environment, so everything else in it is taken away. */
const cleared = (env: Readonly<Record<string, string>>): NodeJS.ProcessEnv => ({
  ...Object.fromEntries(Object.keys(process.env).map(name => [name, undefined])),
  ...env,
})

interface Watched {
  readonly ending: Ending
  readonly timedOut: boolean
  readonly tail: string
}

/** Follows the program to its end, and calls `stop` when it has to end. */
async function watched(
  { program, pipes }: Started,
  options: LaunchOptions,
  timeout: number,
  stop: () => void,
): Promise<Watched> {
  const { signal, onLine } = options
  const tail = new Tail(TAIL)
  const lines = (from: 'stdout' | 'stderr') => byLine(line => onLine?.(line, from))
  const [stdout, stderr] = [lines('stdout'), lines('stderr')]
  for (const [at, lined] of [stdout, stderr].entries()) {
    pipes.read[at]?.on('data', (piece: Buffer) => {
      tail.add(piece)
      lined.add(piece)
    })
  }
  let timedOut = false
  const timer = setTimeout(() => {
    timedOut = true
    stop()
  }, timeout)
  signal.addEventListener('abort', stop, { once: true })
  if (signal.aborted) stop()
  const ending = await program.ended
  await drained(pipes)
  clearTimeout(timer)
  signal.removeEventListener('abort', stop)
  stdout.end()
  stderr.end()
  return { ending, timedOut, tail: tail.text().slice(-TAIL) }
}

function launched(
  ending: Ending & Words,
  { timedOut, tail }: Watched,
  { signal: { aborted } }: LaunchOptions,
  timeout: number,
): Launched {
  const { exitCode, signal } = ending
  const isLate = timedOut || ending.timedOut === true
  const isFine = exitCode === 0 && !isLate && !aborted
  return {
    ...(exitCode === undefined ? {} : { exitCode }),
    ...(signal === undefined ? {} : { signal }),
    ...(isLate ? { timedOut: true } : {}),
    ...(isFine
      ? {}
      : {
          complaint: aborted ? 'was cancelled' : (ending.words ?? describe({ ...ending, timedOut: isLate }, timeout)),
        }),
    tail,
  }
}

/** SIGTERM to all of the unit, a grace, SIGKILL. Rejects if that cannot be ordered. */
async function stopUnit(unit: string, ended: Promise<unknown>): Promise<void> {
  const order = async (...argv: readonly string[]): Promise<boolean> =>
    (await new Program(['systemctl', ...argv, unit], { signal: AbortSignal.timeout(60_000) }).ended).exitCode === 0
  if (await order('kill', '--signal=SIGTERM')) await Promise.race([ended, sleep(KILL_GRACE, undefined, { ref: false })])
  if (!(await order('stop'))) throw new Error(`${unit} cannot be stopped`)
}
