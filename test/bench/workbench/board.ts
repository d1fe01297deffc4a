import { spawn } from 'node:child_process'
import { access, constants, mkdir, open, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { repositoryRoot } from '../../../image/builder/repository.ts'
import type { SlotName } from './boot-env.ts'
import { writeRebootProgram } from './device.ts'
import type { DeviceFolder } from './device-folder.ts'
import { extractImage } from './image.ts'
import { killAtOnce, POWER_MARK } from './processes.ts'

/** How a started system ended. */
export type SystemEnd = 'reboot' | 'panic' | 'watchdog' | 'power off'

export interface BoardOptions {
  /** The agent's program. */
  readonly agent: string
  /** How long a system may take to stop when it is asked to. */
  readonly graceMs: number
  /** How long process 1 may be silent. */
  readonly watchdogMs: number
  /** Added to the environment of the system: how a program of the device finds the outside world. */
  readonly environment: Readonly<Record<string, string>>
}

const LOOK_MS = 25

/** Extracts the slot's system and sees whether it can be started; /run is as fresh as after a real boot. */
export async function loadSlot(folder: DeviceFolder, slot: SlotName, boot: number): Promise<boolean> {
  for (const name of await readdir(folder.run)) await rm(join(folder.run, name), { recursive: true, force: true })
  if (!(await extractImage(folder.slots[slot], folder.root))) return false
  await mkdir(folder.temporary)
  await writeRebootProgram(folder)
  await writeFile(folder.commandLine, `console=tty1 root=PARTLABEL=root-${slot} ro adu.slot=${slot} adu.boot=${boot}\n`)
  return access(initOf(folder), constants.X_OK).then(
    () => true,
    () => false,
  )
}

/** Runs the loaded system until it ends; when this returns nothing of it runs any more. */
export async function runSystem(
  folder: DeviceFolder,
  mark: string,
  options: BoardOptions,
  powerOff: AbortSignal,
  isTrial: boolean,
): Promise<SystemEnd> {
  await writeFile(folder.watchdog, '')
  const log = await open(folder.agentLog, 'a')
  // The log is written by the system itself: nothing of it is lost when the plug is pulled.
  const init = spawn(initOf(folder), {
    cwd: folder.dir,
    detached: true,
    stdio: ['ignore', log.fd, log.fd],
    env: {
      PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      TMPDIR: folder.temporary,
      ...options.environment,
      BOARD_NODE: process.execPath,
      BOARD_AGENT: options.agent,
      BOARD_CONFIG: folder.config,
      BOARD_ROOT: folder.root,
      BOARD_WATCHDOG: folder.watchdog,
      BOARD_FLIGHT: isTrial ? folder.flight : '',
      BOARD_STEPS: join(repositoryRoot(), 'dist/src/steps/main.js'),
      BOARD_STEP_SETTINGS: folder.stepSettings,
      BOARD_STEP_STATE: folder.stepState,
      BOARD_STEP_SOCKET: folder.stepSocket,
      [POWER_MARK]: mark,
    },
  })
  let ended = false
  init.once('exit', () => {
    ended = true
  })
  init.once('error', () => {
    ended = true
  })
  await log.close()

  let end: SystemEnd | undefined
  while (!end) {
    if (powerOff.aborted) end = 'power off'
    else if (await exists(folder.rebootRequest)) end = 'reboot'
    else if (ended) end = 'panic'
    else if (await silentFor(folder.watchdog, options.watchdogMs)) end = 'watchdog'
    else await sleep(LOOK_MS)
  }
  if (end === 'reboot' || end === 'power off') {
    if (init.pid !== undefined && !ended) process.kill(-init.pid, 'SIGTERM')
    for (const limit = Date.now() + options.graceMs; !ended && Date.now() < limit; ) await sleep(LOOK_MS)
  }
  await killAtOnce(mark)
  return end
}

function initOf(folder: DeviceFolder): string {
  return join(folder.root, 'sbin/init')
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined
}

async function silentFor(path: string, ms: number): Promise<boolean> {
  const fed = await stat(path).catch(() => undefined)
  return fed !== undefined && Date.now() - fed.mtimeMs > ms
}
