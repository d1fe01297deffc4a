import { randomUUID } from 'node:crypto'
import { readFile, rename, writeFile } from 'node:fs/promises'
import type { DeviceFolder } from './device-folder.ts'
import { lockFolder } from './folder-lock.ts'
import { identify, isAlive, killAtOnce, type ProcessIdentity } from './processes.ts'

/** Which process runs the device, and the mark its processes carry. */
export interface Power {
  readonly bootloader: ProcessIdentity
  readonly mark: string
}

/**
 * Makes this process the device's only bootloader until it ends. Throws when another process is.
 * What an earlier one left running is ended first.
 */
export async function takePower(folder: DeviceFolder): Promise<Power> {
  await lockFolder('workbench', folder.dir, `the device in ${folder.dir} is switched on already`)
  const before = await readPower(folder)
  if (before) await killAtOnce(before.mark)
  const power = { bootloader: identify(process.pid)!, mark: randomUUID() }
  await writeFile(`${folder.power}.new`, JSON.stringify(power))
  await rename(`${folder.power}.new`, folder.power)
  return power
}

/** The power-on that was last; its bootloader may have ended. */
export async function readPower(folder: DeviceFolder): Promise<Power | undefined> {
  const text = await readFile(folder.power, 'utf8').catch(() => undefined)
  return text === undefined ? undefined : (JSON.parse(text) as Power)
}

/** Pulls the plug: nothing of that power-on runs when this returns. Unlike a real cut it keeps what was written but not synced. */
export async function pullPlug({ mark, bootloader }: Power): Promise<void> {
  await killAtOnce(mark, isAlive(bootloader) ? bootloader : undefined)
}
