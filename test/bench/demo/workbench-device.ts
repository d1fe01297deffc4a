import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { fileUrls } from '../authoring/manifest.ts'
import { readBootEnv } from '../workbench/boot-env.ts'
import { type PoweredDevice, startDevice } from '../workbench/control.ts'
import { type BootRecord, deviceFolder, deviceStatus, slotVersion } from '../workbench/device-folder.ts'
import type { RootTree } from '../workbench/root-tree.ts'
import type { DemoDevice, DemoSystem, DeviceMeans } from './device.ts'
import { followLines, jsonIn } from './follow.ts'

/** A device of the workbench, whose systems are `imageBytes` large. */
export async function workbenchDevice(means: DeviceMeans, imageBytes: number): Promise<DemoDevice> {
  const { bench, id, piAdu } = means
  const treeOf = (system: DemoSystem): RootTree => ({ ...system, payloadBytes: Math.floor(imageBytes * 0.8) })
  const dir = await bench.addDevice(id, { a: treeOf(means.system), slotBytes: imageBytes, piAdu })
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
    async follow({ onBoot, onAgent }, signal) {
      const timed = (tell: (record: Record<string, unknown>, at: number) => void) => (line: string) => {
        // Other programs of the device write into the same log, and a power cut may tear a line.
        const record = jsonIn(line)
        if (record) tell(record, Date.parse(String(record.time)))
      }
      await Promise.all([
        followLines(folder.agentLog, timed(onAgent), signal),
        followLines(
          folder.bootLog,
          timed((record, at) => onBoot(record as unknown as BootRecord, at)),
          signal,
        ),
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
