import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { followAgents } from '../../../src/control/follow.ts'
import type { Line } from '../../../src/control/protocol.ts'
import { fileUrls } from '../authoring/manifest.ts'
import { jsonIn } from '../event-lines.ts'
import { readBootEnv } from '../workbench/boot-env.ts'
import { type PoweredDevice, startDevice } from '../workbench/control.ts'
import { type BootRecord, deviceFolder, deviceStatus, slotVersion } from '../workbench/device-folder.ts'
import type { RootTree } from '../workbench/root-tree.ts'
import type { DemoDevice, DemoSystem, DeviceMeans } from './device.ts'
import { followLines } from './follow.ts'

/** Between two attempts to reach an agent that is not there yet. */
const AGAIN_MS = 20

/** A device of the workbench, whose systems are `imageBytes` large. */
export async function workbenchDevice(means: DeviceMeans, imageBytes: number): Promise<DemoDevice> {
  const { bench, id, piAdu, steps } = means
  const treeOf = (system: DemoSystem): RootTree => ({ ...system, payloadBytes: Math.floor(imageBytes * 0.8) })
  const dir = await bench.addDevice(id, {
    a: treeOf(means.system),
    slotBytes: imageBytes,
    piAdu,
    ...(steps && { steps: {} }),
  })
  const folder = deviceFolder(dir)
  let on: PoweredDevice | undefined
  return {
    update: {},
    patienceMs: 120_000,
    lookMs: 100,
    buildBundle: (system, by) => bench.buildBundle({ tree: treeOf(system), imageBytes }, undefined, by),
    fileUrls: update => fileUrls(update.files, path => bench.content.url(path)),
    async powerOn() {
      on = await startDevice(dir)
    },
    async powerCut() {
      await on?.powerCut()
      on = undefined
    },
    async follow({ onBoot, onEvent }, signal) {
      const onLine = (line: Line): void => {
        if ('event' in line) onEvent(line, Date.parse(line.time))
      }
      const onBootLine = (text: string): void => {
        // A power cut may tear a line.
        const record = jsonIn(text)
        if (record) onBoot(record as unknown as BootRecord, Date.parse(String(record.time)))
      }
      await Promise.all([
        followAgents(folder.controlSocket, { onLine, again: AGAIN_MS }, signal),
        followLines(folder.bootLog, onBootLine, signal),
      ])
    },
    readBootState: () => readBootEnv(folder.bootEnv),
    readVersion: slot => slotVersion(dir, slot),
    async running() {
      const version = await readFile(join(folder.root, 'etc/adu-version'), 'utf8').catch(() => '')
      return { slot: (await deviceStatus(dir)).booted, version: version.trim() }
    },
    // The other slot is a file with holes: only what was written takes room.
    written: async () => ({ where: 'slot b', bytes: (await stat(folder.slots.b)).blocks * 512 }),
  }
}
