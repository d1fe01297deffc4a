/** One request that the kernel gave to the disk. Sizes and places in sectors of 512 bytes. */
interface Write {
  /** In seconds since the kernel's start. */
  readonly at: number
  readonly start: number
  readonly sectors: number
  /** The task that gave it: jbd2 for the journal of ext4, a kworker for what the kernel writes back. */
  readonly task: string
}

/** A task that made an inode dirty, or had a file written out at once. */
interface Cause {
  readonly task: string
  readonly inode: number
}

export interface Trace {
  readonly writes: readonly Write[]
  readonly causes: readonly Cause[]
}

/** What has to be traced, relative to the folder of tracefs, and what of it. */
export const EVENTS = {
  'events/block/block_rq_issue': 'rwbs ~ "*W*"',
  'events/writeback/writeback_mark_inode_dirty': '',
} as const

const LINE = /^\s*(.+)-\d+\s+(?:\(.*?\)\s+)?\[\d+\]\s+\S+\s+([\d.]+): (\w+): (.*)$/
// `FWFS` is a write between two flushes, as the commit of a journal is.
const REQUEST = /^(\d+,\d+) F?W\w* (\d+) .* (\d+) \+ (\d+) /
const DIRTY = /^bdi (\d+):(\d+): ino=(\d+)/

/** Reads the kernel's trace (Documentation/trace/ftrace.rst) of one disk, `254,0`. Pure. */
export function readTrace(text: string, disk: string): Trace {
  const writes: Write[] = []
  const causes: Cause[] = []
  for (const line of text.split('\n')) {
    const [, task = '', at, event, rest = ''] = LINE.exec(line) ?? []
    if (event === 'block_rq_issue') {
      const [, device, , start, sectors] = REQUEST.exec(rest) ?? []
      if (device === disk) writes.push({ at: Number(at), start: Number(start), sectors: Number(sectors), task })
    } else if (event === 'writeback_mark_inode_dirty') {
      const [, major, minor, inode] = DIRTY.exec(rest) ?? []
      if (`${major},${minor}` === disk) causes.push({ task, inode: Number(inode) })
    }
  }
  return { writes, causes }
}

/** In sectors, from `/sys/block/DISK/PARTITION`. */
export interface Place {
  readonly name: string
  readonly start: number
  readonly sectors: number
}

export interface Row {
  readonly what: string
  readonly requests: number
  readonly bytes: number
}

const kindOf = (task: string): string => {
  if (task.startsWith('jbd2/')) return 'journal of ext4'
  if (task.startsWith('kworker/')) return 'written back by the kernel'
  return task
}

/** Bytes for each partition and kind of writer, most first. Pure. */
export function bytesOf(writes: readonly Write[], places: readonly Place[]): readonly Row[] {
  const rows = new Map<string, Row>()
  for (const { start, sectors, task } of writes) {
    const place = places.find(one => start >= one.start && start < one.start + one.sectors)
    const what = `${place?.name ?? 'elsewhere'}: ${kindOf(task)}`
    const { requests, bytes } = rows.get(what) ?? { requests: 0, bytes: 0 }
    rows.set(what, { what, requests: requests + 1, bytes: bytes + sectors * 512 })
  }
  return [...rows.values()].sort((one, other) => other.bytes - one.bytes)
}

/** How often each task made each file dirty, most first. `paths`: inode → path. Pure. */
export function causesOf(causes: readonly Cause[], paths: ReadonlyMap<number, string>): readonly [string, number][] {
  const counts = new Map<string, number>()
  for (const { task, inode } of causes) {
    const what = `${task}: ${paths.get(inode) ?? `inode ${inode}`}`
    counts.set(what, (counts.get(what) ?? 0) + 1)
  }
  return [...counts].sort((one, other) => other[1] - one[1])
}
