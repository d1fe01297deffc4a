import { readdir, readlink, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { DeviceFolder } from '../bench/workbench/device-folder.ts'
import { readPower } from '../bench/workbench/power-file.ts'
import { marked } from '../bench/workbench/processes.ts'

/** Anything as large as this is a part of an image. */
const LARGE = 128 << 10
const LOOK_MS = 10

export interface CopyWatch {
  /** Files that were seen, and how often was looked. */
  stop(): Promise<{ readonly found: readonly string[]; readonly looks: number }>
}

/**
 * Looks for copies of an image outside of the slots, as long as it is not stopped: in the device's folder, its temporary
 * files included, and among the open files of its processes, deleted ones included. The root tree that the bootloader
 * unpacks stands for a mounted slot and is left out.
 */
export function watchForCopies(folder: DeviceFolder): CopyWatch {
  const found = new Set<string>()
  let looks = 0
  let stopped = false
  const watching = (async () => {
    while (!stopped) {
      for (const file of [...(await inFolder(folder)), ...(await open(folder))]) found.add(file)
      looks += 1
      await sleep(LOOK_MS)
    }
  })()
  return {
    async stop() {
      stopped = true
      await watching
      return { found: [...found], looks }
    },
  }
}

async function inFolder(folder: DeviceFolder): Promise<string[]> {
  const leftOut = [folder.slots.a, folder.slots.b, folder.root]
  const walk = async (path: string): Promise<string[]> => {
    if (leftOut.includes(path)) return []
    const it = await stat(path).catch(() => undefined)
    if (it?.isFile()) return it.size >= LARGE ? [path] : []
    if (!it?.isDirectory()) return []
    const names = await readdir(path).catch(() => [])
    return (await Promise.all(names.map(name => walk(join(path, name))))).flat()
  }
  return walk(folder.dir)
}

async function open(folder: DeviceFolder): Promise<string[]> {
  const power = await readPower(folder)
  const slots = await Promise.all([folder.slots.a, folder.slots.b].map(async path => (await stat(path)).ino))
  const files: string[] = []
  for (const { pid } of power ? marked(power.mark) : []) {
    for (const fd of await readdir(`/proc/${pid}/fd`).catch(() => [])) {
      const path = `/proc/${pid}/fd/${fd}`
      const [it, name] = await Promise.all([stat(path), readlink(path)]).catch(() => [])
      // A program that starts has its libraries open.
      if (!it?.isFile() || name?.startsWith('/usr/')) continue
      if (it.size >= LARGE && !slots.includes(it.ino)) files.push(`open file ${name} of ${pid}`)
    }
  }
  return files
}
