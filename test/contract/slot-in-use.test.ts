import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { constants } from 'node:fs'
import { link, mkdir, mkdtemp, open, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, suite } from 'node:test'
import { claimSlot } from '../../src/adapters/slot/slot-device.ts'
import { sameStorage, useOf } from '../../src/adapters/slot/slot-in-use.ts'
import {
  type Below,
  type Found,
  type Mount,
  mountsIn,
  type Storage,
  systemStorage,
} from '../../src/adapters/slot/storage.ts'

/** A machine as the kernel would show it. Paths not named do not exist. */
interface Machine {
  readonly paths: Readonly<Record<string, Found>>
  readonly below?: Readonly<Record<string, Below>>
  readonly mounts?: readonly Mount[]
  readonly swaps?: readonly string[]
  readonly loops?: readonly { name: string; file: string }[]
}

const block = (number: string): Found => ({ kind: 'block', number, fileSystem: '0:6', inode: number })
const file = (inode: string, fileSystem = '8:2'): Found => ({ kind: 'file', number: '0:0', fileSystem, inode })
const folder = (fileSystem: string): Found => ({ kind: 'other', number: '0:0', fileSystem, inode: '2' })
const mounted = (fileSystem: string, at: string, source = '/dev/root'): Mount => ({ fileSystem, at, source })

const storageOf = ({ paths, below = {}, mounts = [], swaps = [], loops = [] }: Machine): Storage => ({
  find: async path => paths[path],
  below: async number => below[number] ?? { parts: [] },
  mounts: async () => mounts,
  swaps: async () => swaps,
  loops: async () => loops,
})

/** A Pi: partitions 2 and 3 of a card are the slots, 2 is running. */
const pi: Machine = {
  paths: {
    '/': folder('179:2'),
    '/dev/mmcblk0': block('179:0'),
    '/dev/mmcblk0p2': block('179:2'),
    '/dev/mmcblk0p3': block('179:3'),
    '/dev/other-name': block('179:2'),
    '/data': folder('179:4'),
    '/data/b.img': file('7', '179:4'),
    '/dev/full': { ...block('1:7'), kind: 'other' },
  },
  below: {
    '179:2': { disk: '179:0', parts: [] },
    '179:3': { disk: '179:0', parts: [] },
    '179:4': { disk: '179:0', parts: [] },
  },
  mounts: [mounted('179:2', '/'), mounted('179:4', '/data'), mounted('0:22', '/sys', 'sysfs')],
}

const also = (more: Machine): Machine => ({
  paths: { ...pi.paths, ...more.paths },
  below: { ...pi.below, ...more.below },
  mounts: [...(more.mounts ?? []), ...(pi.mounts ?? [])],
  swaps: more.swaps ?? [],
  loops: more.loops ?? [],
})

const cases: readonly [what: string, device: string, machine: Machine, use: RegExp | undefined][] = [
  ['the other slot', '/dev/mmcblk0p3', pi, undefined],
  ['a device that is not there', '/dev/sdz', pi, undefined],
  ['a character device', '/dev/full', pi, undefined],
  ['the running slot', '/dev/mmcblk0p2', pi, /^mounted at \/$/],
  ['the running slot by another name', '/dev/other-name', pi, /^mounted at \/$/],
  ['the whole card', '/dev/mmcblk0', pi, /^mounted at \/$/],
  ['the root, where the mount table does not show it', '/dev/mmcblk0p2', { ...pi, mounts: [] }, /^mounted at \/$/],
  ['a slot that is mounted', '/dev/mmcblk0p3', also({ paths: {}, mounts: [mounted('179:3', '/mnt')] }), /at \/mnt$/],
  [
    'a slot below a mounted device mapper',
    '/dev/mmcblk0p3',
    also({ paths: {}, below: { '253:0': { parts: ['179:3'] } }, mounts: [mounted('253:0', '/mnt')] }),
    /at \/mnt$/,
  ],
  [
    'a volume beside the mounted one',
    '/dev/dm-1',
    also({
      paths: { '/dev/dm-1': block('253:1'), '/': folder('253:0') },
      below: { '253:0': { parts: ['179:9'] }, '253:1': { parts: ['179:9'] } },
      mounts: [mounted('253:0', '/old')],
    }),
    undefined,
  ],
  [
    'a loop device on the running slot',
    '/dev/loop0',
    also({ paths: { '/dev/loop0': block('7:0') }, below: { '7:0': { parts: [], file: '/dev/mmcblk0p2' } } }),
    /^mounted at \/$/,
  ],
  [
    'two loop devices on one file, the other mounted',
    '/dev/loop0',
    also({
      paths: { '/dev/loop0': block('7:0') },
      below: { '7:0': { parts: [], file: '/data/b.img' }, '7:1': { parts: [], file: '/data/b.img' } },
      mounts: [mounted('7:1', '/mnt')],
    }),
    /at \/mnt$/,
  ],
  [
    'a btrfs, whose number is not that of its device',
    '/dev/mmcblk0p3',
    also({ paths: {}, mounts: [mounted('0:41', '/mnt', '/dev/mmcblk0p3')] }),
    /at \/mnt$/,
  ],
  ['swap', '/dev/mmcblk0p3', also({ paths: {}, swaps: ['/dev/mmcblk0p3'] }), /^used as swap$/],
  ['a file', '/data/b.img', pi, undefined],
  [
    'a file behind a loop device',
    '/data/b.img',
    also({ paths: {}, loops: [{ name: '/dev/loop0', file: '/data/b.img' }] }),
    /^the file behind \/dev\/loop0$/,
  ],
  [
    'a file that is mounted on another',
    '/data/b.img',
    also({ paths: { '/etc/x': file('7', '179:4') }, mounts: [mounted('179:4', '/etc/x')] }),
    /at \/etc\/x$/,
  ],
]
for (const [what, device, machine, use] of cases) {
  test(`${what}: ${use === undefined ? 'may be written' : 'in use'}`, async () => {
    const found = await useOf(device, storageOf(machine))
    if (use === undefined) assert.equal(found, undefined)
    else assert.match(found ?? 'not in use', use)
  })
}

const pairs: readonly [a: string, b: string, same: boolean][] = [
  ['/dev/mmcblk0p2', '/dev/mmcblk0p3', false],
  ['/dev/mmcblk0p2', '/dev/other-name', true],
  ['/dev/mmcblk0', '/dev/mmcblk0p3', true],
  ['/dev/sdz', '/dev/./sdz', true],
  ['/dev/sdz', '/dev/sdy', false],
  ['/dev/mmcblk0p2', '/data/b.img', false],
]
for (const [a, b, same] of pairs) {
  test(`${a} and ${b} are ${same ? 'one storage' : 'two'}`, async () => {
    assert.equal(await sameStorage({ a, b }, storageOf(pi)), same)
  })
}

test('a mount table that cannot be read: the slot counts as in use', async () => {
  const blind: Storage = { ...storageOf(pi), mounts: async () => undefined }
  assert.match((await useOf('/dev/mmcblk0p3', blind)) ?? '', /mountinfo cannot be read/)
})

test('the mount table is read as the kernel writes it', () => {
  const text = [
    '36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue',
    '37 35 0:41 / /a\\040b rw shared:2 propagate_from:3 - btrfs /dev/my\\134disk rw',
    '',
  ].join('\n')
  assert.deepEqual(mountsIn(text), [
    { fileSystem: '98:0', at: '/mnt2', source: '/dev/root' },
    { fileSystem: '0:41', at: '/a b', source: '/dev/my\\disk' },
  ])
})

const dir = await mkdtemp(join(tmpdir(), 'in-use-'))
after(() => rm(dir, { recursive: true }))

const root = (program: string, ...args: string[]): string => execFileSync(program, args, { encoding: 'utf8' }).trim()

/** A file system in a file, and a loop device for it; undefined where this user or kernel may not. */
async function loop(name: string): Promise<{ image: string; device: string } | undefined> {
  const image = join(dir, name)
  await writeFile(image, '')
  await truncate(image, 8 << 20)
  root('mkfs.ext4', '-q', image)
  try {
    return { image, device: root('losetup', '--find', '--show', image) }
  } catch {
    return undefined
  }
}

process.env.PATH += ':/usr/sbin:/sbin'
const slot = await loop('b.img')
suite('on real loop devices', { skip: slot ? false : 'no loop devices for this user' }, () => {
  const { image, device } = slot ?? { image: '', device: '' }
  const at = join(dir, 'mnt')
  const claim = async (path: string): Promise<void> => (await claimSlot(path, systemStorage))?.close()
  const inUse = (why: RegExp) => ({ code: 'SLOT_IN_USE', message: why })
  after(() => root('losetup', '--detach', device))

  test('a loop device that nobody uses is claimed, and then nobody can mount it', async () => {
    await mkdir(at)
    const claimed = await claimSlot(device, systemStorage)
    assert.throws(() => root('mount', device, at))
    await assert.rejects(open(device, constants.O_RDONLY | constants.O_EXCL), { code: 'EBUSY' })
    await claimed?.close()
  })

  test('one that is mounted is refused by each of its names, and left as it is', async () => {
    root('mount', '-o', 'ro', device, at)
    try {
      const before = await readFile(image)
      const node = join(dir, 'node')
      const number = await systemStorage.find(device)
      root('mknod', node, 'b', ...(number?.number.split(':') ?? []))
      await symlink(device, join(dir, 'symbolic'))
      await link(image, join(dir, 'hard'))
      for (const name of [device, node, join(dir, 'symbolic')]) {
        await assert.rejects(claim(name), inUse(/is in use \(mounted at .*mnt\), so nothing was written/))
      }
      for (const name of [image, join(dir, 'hard')]) {
        await assert.rejects(claim(name), inUse(/\(the file behind \/dev\/loop\d+\)/))
      }
      assert.ok(before.equals(await readFile(image)))
    } finally {
      root('umount', at)
    }
    await claim(device)
  })

  test('one that is mounted where this process does not see it is refused by the kernel', async () => {
    root('mount', '-o', 'ro', device, at)
    try {
      const blind: Storage = { ...systemStorage, mounts: async () => [] }
      await assert.rejects(claimSlot(device, blind), inUse(/mounted or claimed by another program/))
    } finally {
      root('umount', at)
    }
  })

  test('a second loop device on the same file is refused while the first is mounted', async () => {
    const second = root('losetup', '--find', '--show', image)
    root('mount', '-o', 'ro', device, at)
    try {
      await assert.rejects(claim(second), inUse(/mounted at .*mnt/))
      assert.equal(await sameStorage({ a: device, b: second }, systemStorage), true)
      assert.equal(await sameStorage({ a: image, b: second }, systemStorage), true)
    } finally {
      root('umount', at)
      root('losetup', '--detach', second)
    }
  })

  test('the root of this machine is refused', async () => {
    const { fileSystem } = (await systemStorage.find('/')) ?? { fileSystem: '' }
    const node = join(dir, 'root')
    root('mknod', node, 'b', ...fileSystem.split(':'))
    if ((await systemStorage.find(node)) && !fileSystem.startsWith('0:')) {
      assert.match((await useOf(node, systemStorage)) ?? '', /^mounted at \//)
    }
  })
})
