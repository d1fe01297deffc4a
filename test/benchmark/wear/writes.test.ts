import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bytesOf, causesOf, readTrace } from './writes.ts'

// Lines as Linux 6.12 writes them to tracefs.
const TRACE = `# tracer: nop
#
# entries-in-buffer/entries-written: 6/6   #P:2
#
#                                _-----=> irqs-off/BH-disabled
#           TASK-PID     CPU#  |||||     TIMESTAMP  FUNCTION
#              | |         |   |||||        |         |
 systemd-journal-233     [000] .....   301.100000: writeback_mark_inode_dirty: bdi 254:0: ino=131 state=I_DIRTY_SYNC|I_DIRTY_DATASYNC|I_DIRTY_PAGES flags=I_DIRTY_PAGES
 systemd-journal-233     [001] .....   301.200000: writeback_mark_inode_dirty: bdi 254:0: ino=131 state= flags=I_DIRTY_TIME
    kworker/u8:2-57      [001] .....   331.000000: block_rq_issue: 254,0 W 4096 () 2099200 + 8 none,0,0 [kworker/u8:2]
    jbd2/vda4-8-180      [000] .....   331.100000: block_rq_issue: 254,0 WS 12288 () 2100000 + 24 none,0,0 [jbd2/vda4-8]
    jbd2/vda4-8-180      [000] d..1.   331.200000: block_rq_issue: 254,0 FWFS 4096 () 2100024 + 8 be,0,4 [jbd2/vda4-8]
    a b-c-99             [000] .....   331.300000: block_rq_issue: 8,0 W 4096 () 2048 + 8 none,0,0 [a b-c]
    a b-c-99             [000] .....   331.400000: writeback_mark_inode_dirty: bdi 8:0: ino=1 state= flags=I_DIRTY_SYNC
    kworker/u8:2-57      [001] .....   332.000000: block_rq_issue: 254,0 R 4096 () 2099200 + 8 none,0,0 [kworker/u8:2]
    a b-c-99             [000] .....   333.000000: block_rq_issue: 254,0 W 512 () 2048 + 1 none,0,0 [a b-c]
`
const PLACES = [
  { name: 'boot', start: 2048, sectors: 4096 },
  { name: 'data', start: 2_099_200, sectors: 100_000 },
]

test('the kernel’s trace: the writes of one disk, flushes with data too, no reads, and names of tasks with spaces', () => {
  const { writes } = readTrace(TRACE, '254,0')
  assert.deepEqual(writes, [
    { at: 331, start: 2_099_200, sectors: 8, task: 'kworker/u8:2' },
    { at: 331.1, start: 2_100_000, sectors: 24, task: 'jbd2/vda4-8' },
    { at: 331.2, start: 2_100_024, sectors: 8, task: 'jbd2/vda4-8' },
    { at: 333, start: 2048, sectors: 1, task: 'a b-c' },
  ])
})

test('bytes for each partition and kind of writer, most first', () => {
  assert.deepEqual(bytesOf(readTrace(TRACE, '254,0').writes, PLACES), [
    { what: 'data: journal of ext4', requests: 2, bytes: 16_384 },
    { what: 'data: written back by the kernel', requests: 1, bytes: 4096 },
    { what: 'boot: a b-c', requests: 1, bytes: 512 },
  ])
})

test('who changed which file, most often first; a file that is gone keeps its number', () => {
  const { causes } = readTrace(TRACE, '254,0')
  const more = [...causes, { task: 'pi-adu', inode: 7 }]
  assert.deepEqual(causesOf(more, new Map([[131, '/data/log/journal/x/system.journal']])), [
    ['systemd-journal: /data/log/journal/x/system.journal', 2],
    ['pi-adu: inode 7', 1],
  ])
})
