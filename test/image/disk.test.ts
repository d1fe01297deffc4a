import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { repositoryRoot } from '../../image/builder/repository.ts'

// image/initramfs/disk, with folders in place of /sys and /dev, and files in place of disks.

const home = mkdtempSync(join(tmpdir(), 'disk-'))
after(() => rmSync(home, { recursive: true, force: true }))

const OURS = 0xad0ad0ad
const [START, SIZE, MIB] = [1000, 131072, 2048]

interface Disk {
  readonly name: string
  readonly id?: number
  /** Name of a partition → its number. */
  readonly parts?: Readonly<Record<string, number>>
  /** In sectors. */
  readonly size?: number
}

let machines = 0
/** What the kernel shows of these disks; of a disk without `id` nothing can be read, as of a card reader without a card. */
function machine(disks: readonly Disk[]) {
  const dir = join(home, String(machines++))
  const [sys, dev, bin] = ['sys', 'dev', 'bin'].map(name => join(dir, name)) as [string, string, string]
  for (const folder of [join(sys, 'class/block'), dev, bin]) mkdirSync(folder, { recursive: true })
  writeFileSync(join(bin, 'blockdev'), `#!/bin/sh\necho "$@" >>${dir}/reread\n`, { mode: 0o755 })
  for (const { name, id, parts = {}, size = START + SIZE } of disks) {
    mkdirSync(join(sys, 'block', name), { recursive: true })
    writeFileSync(join(sys, 'block', name, 'size'), `${size}\n`)
    const sector = Buffer.alloc(id === undefined ? 0 : 512)
    if (id !== undefined) sector.writeUInt32LE(id, 440)
    writeFileSync(join(dev, name), sector)
    for (const [part, number] of Object.entries(parts)) {
      mkdirSync(join(sys, 'block', name, part))
      for (const [file, value] of Object.entries({ partition: number, start: START, size: SIZE }))
        writeFileSync(join(sys, 'block', name, part, file), `${value}\n`)
      symlinkSync(join('../../block', name, part), join(sys, 'class/block', part))
      writeFileSync(join(dev, part), '')
    }
  }
  const script = join(repositoryRoot(), 'image/initramfs/disk')
  const run = (command: string, ...argv: string[]): string => {
    const env = { ...process.env, PATH: `${bin}:${process.env.PATH}` }
    const { stdout, stderr } = spawnSync(
      'sh',
      ['-c', `. "$0"; ${command} "$@"`, script, 'ad0ad0ad', ...argv, sys, dev],
      {
        env,
        encoding: 'utf8',
      },
    )
    return `${stdout}${stderr}`
  }
  return {
    find: (number: number) => run('partition', String(number)).replace(`${dev}/`, ''),
    grow: () => run('grow_data'),
    /** The same, and whether init goes on. */
    growAndGoOn: () => run('grow_and_go_on() { grow_data "$@"; echo on; }; grow_and_go_on'),
    /** Sectors of the fourth partition, as the table of this disk has it. */
    tableSays: (name: string) => readFileSync(join(dev, name)).readUInt32LE(506),
    reread: () => execFileSync('cat', [join(dir, 'reread')], { encoding: 'utf8' }).replace(`${dev}/`, ''),
  }
}

const NAMES: readonly [disk: string, part: (number: number) => string][] = [
  ['vda', number => `vda${number}`],
  ['sda', number => `sda${number}`],
  ['mmcblk0', number => `mmcblk0p${number}`],
  ['mmcblk1', number => `mmcblk1p${number}`],
  ['nvme0n1', number => `nvme0n1p${number}`],
]
const all = (part: (number: number) => string) => Object.fromEntries([1, 2, 3, 4].map(number => [part(number), number]))

for (const [name, part] of NAMES) {
  test(`the partitions of ${name} are found by number`, () => {
    const { find } = machine([{ name, id: OURS, parts: all(part) }])
    for (const number of [1, 2, 3, 4]) assert.equal(find(number), `${part(number)}\n`)
    assert.equal(find(5), '')
  })

  test(`the data partition of ${name} grows to the end of the disk, once and not for less than 8 MiB`, () => {
    const disk = { name, id: OURS, parts: all(part) }
    const { grow, tableSays, reread } = machine([{ ...disk, size: START + SIZE + 100 * MIB }])
    assert.equal(grow(), 'initramfs: data grown by 100 MiB\n')
    assert.equal(tableSays(name), SIZE + 100 * MIB)
    assert.equal(reread(), `--rereadpt ${name}\n`)
    const full = machine([{ ...disk, size: START + SIZE + 8 * MIB - 1 }])
    assert.equal(full.grow(), '')
    assert.equal(full.tableSays(name), 0)
  })
}

test('beside other disks, an empty card reader, parts of an eMMC and namespaces whose names are alike, ours is found', () => {
  const [name, part] = NAMES[4]!
  const { find } = machine([
    { name: 'sda' },
    { name: 'sdb', id: 7, parts: { sdb2: 2 } },
    { name: 'mmcblk0', id: 8, parts: { mmcblk0p2: 2 } },
    { name: 'mmcblk0boot0', id: 0 },
    { name, id: OURS, parts: all(part) },
    { name: 'nvme0n12', id: 9, parts: { nvme0n12p4: 4 } },
  ])
  assert.equal(find(2), 'nvme0n1p2\n')
  assert.equal(find(4), 'nvme0n1p4\n')
})

test('without our disk, nothing is found and nothing grows', () => {
  const { find, growAndGoOn } = machine([{ name: 'sda', id: 7, parts: { sda2: 2, sda4: 4 }, size: 2 ** 24 }])
  assert.equal(find(2), '')
  assert.equal(growAndGoOn(), 'on\n')
})

test('without the data partition, nothing grows and init goes on', () => {
  const { growAndGoOn } = machine([{ name: 'vda', id: OURS, parts: { vda2: 2 }, size: 2 ** 24 }])
  assert.equal(growAndGoOn(), 'on\n')
})
