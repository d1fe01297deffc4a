import { mkdir, open, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileUrls, type ImportedUpdate } from '../bench/authoring/manifest.ts'
import { type Bench, startBench } from '../bench/bench.ts'
import { type DeviceFolder, deviceFolder } from '../bench/workbench/device-folder.ts'
import { runProgram, swupdateProgram } from '../bench/workbench/program.ts'
import { HARDWARE } from '../bench/workbench/root-tree.ts'
import { type ContentProcess, startContentProcess } from './content-process.ts'

export const DEVICE = 'benchmark'
const MIB = 1 << 20

/** One bundle as all contenders get it. */
export interface Payload {
  readonly update: ImportedUpdate
  readonly bundle: string
  readonly url: string
  /** At the rate of gigabit Ethernet. */
  readonly gigabitUrl: string
  readonly bytes: number
  readonly imageBytes: number
}

/** A hub, a device that only the benchmark switches on, and a content server that stands apart. */
export interface Rig {
  readonly dir: string
  readonly bench: Bench
  readonly device: DeviceFolder
  readonly content: ContentProcess
  readonly caFile: string
  /** How swupdate is called for slot b, apart from where the bundle comes from. */
  readonly swupdate: readonly [string, ...string[]]
  payload(imageMiB: number, options?: { compressed?: boolean }): Promise<Payload>
  /** Slot b is all zeros, of this size, on the disk; nothing else waits to be written. */
  freshSlot(bytes: number): Promise<void>
  stop(): Promise<void>
}

export async function startRig(dir: string): Promise<Rig> {
  const bench = await startBench({ stateDir: dir })
  const content = await startContentProcess(bench.contentDir, join(dir, 'hub/certs'))
  // Its slots are files, which an agent that is told nothing lets SWUpdate write itself.
  const device = deviceFolder(await bench.addDevice(DEVICE, { piAdu: { slots: { compareBeforeWrite: false } } }))
  await mkdir(join(device.root, 'etc'), { recursive: true })
  await writeFile(join(device.root, 'etc/adu-version'), '1.0.0\n')
  await writeFile(device.commandLine, 'adu.slot=a\n')
  await mkdir(device.temporary, { recursive: true })
  return {
    dir,
    bench,
    device,
    content,
    caFile: bench.hub.caFile,
    swupdate: [
      ...(await swupdateProgram()),
      '-M',
      '-m',
      '-k',
      bench.signer.certificate,
      '-e',
      'stable,b',
      '-H',
      HARDWARE,
    ],
    async payload(imageMiB) {
      const version = `2.${imageMiB}.0`
      const bundle = await bench.buildBundle({
        // The rest is what the file system takes for itself.
        tree: { version, payloadBytes: Math.floor(imageMiB * 0.86) * MIB },
        imageBytes: imageMiB * MIB,
      })
      const update = await bench.importBundle(bundle, version)
      // The published one is a link to the same file.
      await rm(dirname(bundle), { recursive: true })
      const [url] = Object.values(fileUrls(update.files, content.url))
      const [gigabitUrl] = Object.values(fileUrls(update.files, content.gigabitUrl))
      const [file] = update.files
      const path = join(bench.contentDir, file!.fileId, file!.fileName)
      // The servers read it into memory now, and not in somebody's race.
      for (const each of [url!, gigabitUrl!])
        await runProgram(['curl', '-fsS', '--cacert', bench.hub.caFile, '-r', '0-0', '-o', '/dev/null', each])
      return {
        update,
        bundle: path,
        url: url!,
        gigabitUrl: gigabitUrl!,
        bytes: file!.sizeInBytes,
        imageBytes: imageMiB * MIB,
      }
    },
    async freshSlot(bytes) {
      const file = await open(device.slots.b, 'r+')
      try {
        await file.truncate(bytes)
        const zeros = Buffer.alloc(4 * MIB)
        for (let at = 0; at < bytes; at += zeros.length) await file.write(zeros, 0, zeros.length, at)
      } finally {
        await file.close()
      }
      await runProgram(['sync'])
    },
    async stop() {
      await Promise.all([content.stop(), bench.stop()])
    },
  }
}
