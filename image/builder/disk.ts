import { chmod, chown, mkdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { UsageError } from '../../src/domain/errors.ts'
import { IMAGE } from './data.ts'
import { uuidOf } from './ext4.ts'
import { failInOneLine } from './failure.ts'
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
  /** For sfdisk(8). */
  readonly table: string
}

const SECTOR = 512
const BLOCK = 4096

/** Sizes in bytes that replace those of image/partitions.sfdisk; whole MiB. */
export interface Sizes {
  readonly slot?: number | undefined
  readonly data?: number | undefined
}

/** The partition table of image/partitions.sfdisk. */
export async function readLayout(sizes: Sizes = {}): Promise<Layout> {
  return layoutOf(await readFile(join(IMAGE, 'partitions.sfdisk'), 'utf8'), sizes)
}

/** Reads a partition table in sfdisk's format, and lays the partitions out again for other sizes. Pure. */
export function layoutOf(text: string, { slot, data }: Sizes = {}): Layout {
  const wanted = [undefined, slot, slot, data]
  const partitions: Partition[] = []
  let shift = 0
  const table = text.replaceAll(/^start=\s*(\d+),\s*size=\s*(\d+)/gm, (_, first: string, sectors: string) => {
    const start = Number(first) * SECTOR + shift
    const size = wanted[partitions.length] ?? Number(sectors) * SECTOR
    shift += size - Number(sectors) * SECTOR
    partitions.push({ start, size })
    return `start=${start / SECTOR}, size=${size / SECTOR}`
  })
  const [boot, a, b, last] = partitions
  if (!boot || !a || !b || !last) throw new Error('partitions.sfdisk needs four partitions: boot, a, b, data')
  return { boot, a, b, data: last, bytes: last.start + last.size, table }
}

/** The largest disk that an MBR describes. */
const MOST_BYTES = 2 ** 32 * SECTOR

/** A size as on the command line: `768M`, `2G`. Errors: another form, less than 64 MiB, or more than a card's table describes. Pure. */
export function sizeOf(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const [, digits, unit] = /^(\d{1,7})([MG])$/.exec(text) ?? []
  const bytes = Number(digits) * (unit === 'G' ? 2 ** 30 : 2 ** 20)
  if (!digits || bytes < 64 * 2 ** 20 || bytes > MOST_BYTES / 4)
    throw new UsageError(`${option} ${text}: a number of MiB or GiB such as 768M or 2G, from 64M to 512G`)
  return bytes
}

/** A slot fuller than this soon has no room for a larger system, and its size is fixed once a card is flashed. */
const FULL = 0.7

/** A warning when the slots leave a later system little room; undefined when there is enough. Pure. */
export function slotWarning(rootBytes: number, slotBytes: number): string | undefined {
  if (rootBytes <= slotBytes * FULL) return undefined
  const percent = Math.round((rootBytes / slotBytes) * 100)
  return (
    `the slot is ${percent} % full, and no update can enlarge it: for a new fleet take larger slots ` +
    '(--slot-size), or take packages out'
  )
}

/** The disk image: partition table, boot, slot a, an empty slot b, and data. */
export async function makeDisk(output: string, layout: Layout, parts: { boot: string; root: string; data: string }) {
  await rm(output, { force: true })
  await run(['truncate', '-s', String(layout.bytes), output])
  await run(['sfdisk', '--quiet', output], { stdin: 'pipe', input: layout.table })
  for (const name of ['boot', 'a', 'data'] as const) {
    const from = parts[name === 'a' ? 'root' : name]
    const at = String(layout[name].start / 2 ** 20)
    await run(['dd', `if=${from}`, `of=${output}`, 'bs=1M', `seek=${at}`, 'conv=notrunc,sparse', 'status=none'])
  }
}

/** As in image/rootfs/usr/lib/sysusers.d. */
const AGENT_GROUP = '870'

/**
 * A new data partition with folders, a line each as in image/data.txt, and all its times `epoch`: the same call gives the same bytes.
 * Must run as root or under fakeroot.
 */
export async function makeDataPartition(
  output: string,
  bytes: number,
  work: string,
  folders: readonly string[],
  epoch: number,
) {
  const env = { E2FSPROGS_FAKE_TIME: String(epoch) }
  const tree = join(work, 'data')
  await rm(tree, { recursive: true, force: true })
  await mkdir(tree, { recursive: true })
  for (const line of folders) {
    const [mode, uid, gid, path] = line.split(/\s+/) as [string, string, string, string]
    await mkdir(join(tree, path), { recursive: true })
    await chown(join(tree, path), Number(uid), Number(gid))
    await chmod(join(tree, path), Number.parseInt(mode, 8))
  }
  const uuid = uuidOf('pi-adu data')
  // The partition grows with the card. For its initial size mke2fs would choose 1 KiB blocks and room for about 30 GB.
  const most = (512 * 2 ** 30) / BLOCK
  await run(['rm', '-f', output])
  await run(
    [
      ...([
        'mke2fs',
        '-q',
        '-t',
        'ext4',
        '-L',
        'data',
        '-m',
        '5',
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
    ],
    { env },
  )
  // What is reserved is for root and the agent's group: what others write cannot keep the agent from writing its state. fstab has
  // the group too, for kernels that ignore it here. When the partition grows, the kernel adds the same share, rounded down to whole
  // percents.
  await run(['tune2fs', '-g', AGENT_GROUP, output], { env })
  // mke2fs copies the times of the folders, which are those of the build.
  const places = ['', 'lost+found', ...folders.map(line => line.split(/\s+/)[3]!)]
  const fields = ['atime', 'ctime', 'mtime', 'crtime']
  const commands = places.flatMap(path =>
    fields.flatMap(field => [`sif "/${path}" ${field} @${epoch}`, `sif "/${path}" ${field}_extra 0`]),
  )
  await run(['debugfs', '-w', '-f', '-', output], { env, stdin: 'pipe', input: `${commands.join('\n')}\n` })
}

if (process.argv[2] !== undefined && process.argv[1]?.endsWith('disk.js')) {
  failInOneLine('data partition')
  const [output, bytes, work, folders, epoch] = JSON.parse(process.argv[2])
  await makeDataPartition(output, bytes, work, folders, epoch)
}
