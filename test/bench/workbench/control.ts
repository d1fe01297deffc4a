import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import {
  type BootRecord,
  type DeviceStatus,
  deviceFolder,
  deviceStatus,
  makeFolders,
  readBootLog,
} from './device-folder.ts'
import { type Power, pullPlug, readPower } from './power-file.ts'

export interface PowerOnOptions {
  /** The agent's program. Default: the product's own. */
  readonly agent?: string
  readonly panicDelayMs?: number
  readonly graceMs?: number
  readonly watchdogMs?: number
  /** Added to the environment of the device's system. */
  readonly environment?: Readonly<Record<string, string>>
}

/** A device that is switched on. It is switched off when the process that did it ends. */
export interface PoweredDevice {
  readonly dir: string
  /** Nothing of the device runs when this returns. */
  powerCut(): Promise<void>
  /** In good order, as by a shutdown. */
  powerOff(): Promise<void>
  /** The record of the boot with this number, waited for. */
  waitForBoot(boot: number, timeoutMs?: number): Promise<BootRecord>
  /** Boots in the device's life, this power-on's and all before. */
  bootCount(): Promise<number>
  status(): Promise<DeviceStatus>
  /** Ends when the device is off, by whatever cause. */
  readonly ended: Promise<void>
}

/** Switches the device on; it is booting when this returns. */
export async function startDevice(dir: string, options: PowerOnOptions = {}): Promise<PoweredDevice> {
  const folder = deviceFolder(dir)
  await makeFolders(folder)
  const log = await open(join(folder.dir, 'log/bootloader.log'), 'a')
  const child = spawn(
    process.execPath,
    [fileURLToPath(new URL('bootloader.js', import.meta.url)), ...argv(folder.dir, options)],
    {
      cwd: folder.dir,
      // A group of its own: a Ctrl-C meant for us reaches the device through its stdin, in good order.
      detached: true,
      stdio: ['pipe', log.fd, log.fd],
    },
  )
  await log.close()
  let over = false
  const ended = once(child, 'exit').then(() => {
    over = true
  })
  let power: Power | undefined
  while (power?.bootloader.pid !== child.pid) {
    if (over) throw new Error(`the device in ${folder.dir} did not switch on: see log/bootloader.log`)
    power = await readPower(folder)
    await sleep(5)
  }
  const on = power!
  const bootCount = async () => (await readBootLog(dir)).at(-1)?.boot ?? 0
  return {
    dir: folder.dir,
    ended,
    bootCount,
    status: () => deviceStatus(dir),
    async powerCut() {
      await pullPlug(on)
      await ended
    },
    async powerOff() {
      if (!over) child.kill('SIGTERM')
      await ended
    },
    async waitForBoot(boot, timeoutMs = 10_000) {
      for (const limit = Date.now() + timeoutMs; Date.now() < limit; await sleep(20)) {
        const record = (await readBootLog(dir)).find(candidate => candidate.boot === boot)
        if (record) return record
      }
      throw new Error(`boot ${boot} did not come in ${timeoutMs} ms; the last was ${await bootCount()}`)
    },
  }
}

function argv(dir: string, { agent, panicDelayMs, graceMs, watchdogMs, environment = {} }: PowerOnOptions): string[] {
  return [
    ...['--device', dir, '--until-stdin-ends'],
    ...(agent === undefined ? [] : ['--agent', agent]),
    ...(panicDelayMs === undefined ? [] : ['--panic-delay', String(panicDelayMs)]),
    ...(graceMs === undefined ? [] : ['--grace', String(graceMs)]),
    ...(watchdogMs === undefined ? [] : ['--watchdog', String(watchdogMs)]),
    ...Object.entries(environment).flatMap(([name, value]) => ['--env', `${name}=${value}`]),
  ]
}
