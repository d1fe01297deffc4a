import { mkdir, readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { type BootEnv, readBootEnv, type SlotName } from './boot-env.ts'
import { readFromImage } from './image.ts'

/** Where the parts of a device lie in its folder. */
export interface DeviceFolder {
  readonly dir: string
  readonly config: string
  readonly slots: Readonly<Record<SlotName, string>>
  readonly bootEnv: string
  readonly bootBackup: string
  readonly fwEnvConfig: string
  /** Survives updates: the journal and other data. */
  readonly data: string
  /** As /run: empty after every boot. */
  readonly run: string
  readonly root: string
  /** As /data/adu-flight of the image: what the trial's boots reached. */
  readonly flight: string
  readonly commandLine: string
  readonly rebootProgram: string
  readonly rebootRequest: string
  readonly controlSocket: string
  /** Absent: the device has no step service. */
  readonly stepSettings: string
  readonly stepState: string
  readonly stepSocket: string
  readonly watchdog: string
  readonly temporary: string
  readonly bootLog: string
  readonly agentLog: string
  /** Which process is this device's bootloader. */
  readonly power: string
}

export function deviceFolder(dir: string): DeviceFolder {
  const at = (...path: string[]) => resolve(dir, ...path)
  return {
    dir: at(),
    config: at('du-config.json'),
    slots: { a: at('slots/a.img'), b: at('slots/b.img') },
    bootEnv: at('boot/boot.env'),
    bootBackup: at('boot/boot.bak'),
    fwEnvConfig: at('boot/fw_env.config'),
    data: at('data'),
    run: at('run'),
    flight: at('flight'),
    root: at('run/root'),
    commandLine: at('run/cmdline'),
    rebootProgram: at('run/reboot'),
    rebootRequest: at('run/reboot-request'),
    controlSocket: at('run/control.sock'),
    stepSettings: at('steps/steps.json'),
    stepState: at('steps/state'),
    stepSocket: at('run/steps.sock'),
    watchdog: at('run/watchdog'),
    temporary: at('run/tmp'),
    bootLog: at('log/boot.log'),
    agentLog: at('log/agent.log'),
    power: at('power.json'),
  }
}

/** One line of `log/boot.log`: the bootloader started a slot, or tried to. */
export interface BootRecord {
  readonly boot: number
  readonly time: string
  readonly slot: SlotName
  /** As the env says once the bootloader has written it. */
  readonly trial: BootEnv['trial']
  readonly tries: number
  /** Why this slot. */
  readonly reason: string
  /** Why the device started at all. */
  readonly cause: string
}

/** What a look at a device's folder tells; nothing of it needs the device to be running. */
export interface DeviceStatus {
  readonly versions: Readonly<Record<SlotName, string | undefined>>
  readonly boot: BootEnv | undefined
  readonly boots: readonly BootRecord[]
  /** The slot that was started last. */
  readonly booted: SlotName | undefined
}

export async function deviceStatus(dir: string): Promise<DeviceStatus> {
  const folder = deviceFolder(dir)
  const boots = await readBootLog(dir)
  return {
    versions: { a: await slotVersion(dir, 'a'), b: await slotVersion(dir, 'b') },
    boot: await readBootEnv(folder.bootEnv),
    boots,
    booted: boots.at(-1)?.slot,
  }
}

/** `/etc/adu-version` in the slot; undefined without a readable system. */
export async function slotVersion(dir: string, slot: SlotName): Promise<string | undefined> {
  return (await readFromImage(deviceFolder(dir).slots[slot], '/etc/adu-version'))?.trim()
}

export async function readBootLog(dir: string): Promise<BootRecord[]> {
  return (await readLines(deviceFolder(dir).bootLog)).flatMap(line => parsed<BootRecord>(line))
}

/** The last lines of the agent's log, as written. */
export async function agentLogTail(dir: string, lines = 50): Promise<string[]> {
  return (await readLines(deviceFolder(dir).agentLog)).slice(-lines)
}

/** The agent's journal as it stands; undefined when there is none. */
export async function readJournal(dir: string, name = 'journal.json'): Promise<unknown> {
  const text = await readFile(join(deviceFolder(dir).data, name), 'utf8').catch(() => undefined)
  return text === undefined ? undefined : JSON.parse(text.split('\n', 1)[0] ?? '')
}

/** Makes what the bootloader and the agent expect to be there. */
export async function makeFolders(folder: DeviceFolder): Promise<void> {
  for (const name of ['slots', 'boot', 'data', 'flight', 'run', 'log'])
    await mkdir(join(folder.dir, name), { recursive: true })
}

async function readLines(path: string): Promise<string[]> {
  const text = await readFile(path, 'utf8').catch(() => '')
  return text.split('\n').filter(line => line !== '')
}

/** A power cut may tear the last line. */
function parsed<T>(line: string): T[] {
  try {
    return [JSON.parse(line) as T]
  } catch {
    return []
  }
}
