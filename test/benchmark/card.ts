import { mkdir, readFile, rmdir, stat, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { runProgram } from '../bench/workbench/program.ts'

/** Bytes in a second, as of a usual SD card. */
const READS = 60e6
const WRITES = 20e6

/** A block device that is as slow as a card, for processes of one control group. */
export interface Card {
  readonly device: string
  /** Calls what follows it in that group. */
  readonly call: readonly [string, ...string[]]
  /** Only when nobody is in the group any more. */
  remove(): Promise<void>
}

export const CARD = `${READS / 1e6} MB/s read, ${WRITES / 1e6} MB/s written`

/** Over `file`, which keeps its size. Needs root, loop devices and the kernel's throttling (control groups, either version). */
export async function insertCard(file: string): Promise<Card> {
  const device = (await runProgram(['losetup', '-f', '--show', file])).toString().trim()
  const detach = () => runProgram(['losetup', '-d', device])
  try {
    const number = (await readFile(`/sys/class/block/${basename(device)}/dev`, 'utf8')).trim()
    const group = await throttled(number)
    return {
      device,
      call: ['sh', '-c', 'echo $$ > "$0/cgroup.procs" && exec "$@"', group],
      async remove() {
        await rmdir(group)
        await detach()
      },
    }
  } catch (error) {
    await detach()
    throw error
  }
}

/** A control group for which the block device with this number is slow: its folder. */
async function throttled(number: string): Promise<string> {
  const root = '/sys/fs/cgroup'
  const modern = await stat(join(root, 'cgroup.controllers')).catch(() => undefined)
  if (modern) await writeFile(join(root, 'cgroup.subtree_control'), '+io')
  const group = join(root, modern ? '' : 'blkio', `pi-adu-benchmark-${process.pid}`)
  await mkdir(group)
  try {
    const set = (name: string, value: string) => writeFile(join(group, name), value)
    if (modern) await set('io.max', `${number} rbps=${READS} wbps=${WRITES}`)
    else {
      await set('blkio.throttle.read_bps_device', `${number} ${READS}`)
      await set('blkio.throttle.write_bps_device', `${number} ${WRITES}`)
    }
  } catch (error) {
    await rmdir(group)
    throw error
  }
  return group
}
