import { chmod, chown, mkdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { IMAGE, linesOf } from './data.ts'
import { uuidOf } from './ext4.ts'
import { run } from './run.ts'

/** In bytes, as in the partition table. */
export interface Partition {
  readonly start: number
  readonly size: number
}

export interface Layout {
  readonly boot: Partition
  readonly a: Partition
  readonly b: Partition
  readonly data: Partition
  readonly bytes: number
}

const SECTOR = 512
const BLOCK = 4096

/** The partition table of image/partitions.sfdisk. */
export async function readLayout(): Promise<Layout> {
  const text = await readFile(join(IMAGE, 'partitions.sfdisk'), 'utf8')
  const partitions = [...text.matchAll(/^start=\s*(\d+),\s*size=\s*(\d+)/gm)].map(([, start, size]) => ({
    start: Number(start) * SECTOR,
    size: Number(size) * SECTOR,
  }))
  const [boot, a, b, data] = partitions
  if (!boot || !a || !b || !data) throw new Error('partitions.sfdisk needs four partitions: boot, a, b, data')
  return { boot, a, b, data, bytes: data.start + data.size }
}

/** The disk image: partition table, boot, slot a, an empty slot b, and data. */
export async function makeDisk(output: string, layout: Layout, parts: { boot: string; root: string; data: string }) {
  await rm(output, { force: true })
  await run(['truncate', '-s', String(layout.bytes), output])
  const table = await readFile(join(IMAGE, 'partitions.sfdisk'), 'utf8')
  await run(['sfdisk', '--quiet', output], { stdin: 'pipe', input: table })
  for (const name of ['boot', 'a', 'data'] as const) {
    const from = parts[name === 'a' ? 'root' : name]
    const at = String(layout[name].start / 2 ** 20)
    await run(['dd', `if=${from}`, `of=${output}`, 'bs=1M', `seek=${at}`, 'conv=notrunc,sparse', 'status=none'])
  }
}

/** A new data partition: the folders of image/data.txt. Has to own files as root would. */
export async function makeDataPartition(output: string, bytes: number, work: string): Promise<void> {
  const tree = join(work, 'data')
  await rm(tree, { recursive: true, force: true })
  await mkdir(tree, { recursive: true })
  for (const line of linesOf('data.txt')) {
    const [mode, uid, gid, path] = line.split(/\s+/) as [string, string, string, string]
    await mkdir(join(tree, path), { recursive: true })
    await chown(join(tree, path), Number(uid), Number(gid))
    await chmod(join(tree, path), Number.parseInt(mode, 8))
  }
  const uuid = uuidOf('pi-adu data')
  // It grows with the card: for its own size mke2fs would choose blocks of 1 KiB, and room to grow to some 30 GB.
  const most = (512 * 2 ** 30) / BLOCK
  await run(['rm', '-f', output])
  await run([
    ...([
      'mke2fs',
      '-q',
      '-t',
      'ext4',
      '-L',
      'data',
      '-m',
      '1',
      '-b',
      String(BLOCK),
      '-i',
      '65536',
      '-U',
      uuid,
    ] as const),
    ...[
      '-E',
      `hash_seed=${uuid},root_owner=0:0,lazy_itable_init=0,resize=${most}`,
      '-d',
      tree,
      output,
      `${bytes / 1024}k`,
    ],
  ])
}

if (process.argv[2] !== undefined && process.argv[1]?.endsWith('disk.js')) {
  const [output, bytes, work] = JSON.parse(process.argv[2])
  await makeDataPartition(output, bytes, work)
}
