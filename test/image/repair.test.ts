import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, truncateSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { layoutOf, makeDataPartition } from '../../image/builder/disk.ts'
import { repositoryRoot } from '../../image/builder/repository.ts'

// The data partition, damaged, and then checked as systemd-fsck(8) does with fsck.repair=yes: e2fsck -y.

// debugfs and e2fsck, for users whose path is without them.
process.env.PATH = `${process.env.PATH}:/usr/sbin:/sbin`

const read = (path: string): string => readFileSync(join(repositoryRoot(), path), 'utf8')
/** As on a card: the partition has grown at the first start. From 128 MiB on ext4 has copies of its superblock. */
const BYTES = 512 * 2 ** 20
const CONTENT = `${'identity '.repeat(2000)}\n`

let home: string
let image: string

/** Runs a program of e2fsprogs on the image. */
function e2(program: string, ...argv: string[]): { status: number | null; said: string } {
  const { status, stdout, stderr } = spawnSync(program, argv, { encoding: 'utf8' })
  return { status, said: `${stdout}${stderr}` }
}
const debugfs = (command: string): string => e2('debugfs', '-w', '-R', command, image).said
const isWhole = (): boolean => e2('e2fsck', '-fn', image).status === 0
const contentOf = (path: string): string =>
  spawnSync('debugfs', ['-R', `cat ${path}`, image], { encoding: 'utf8' }).stdout

function zero(from: number, bytes: number): void {
  const file = openSync(image, 'r+')
  writeSync(file, Buffer.alloc(bytes), 0, bytes, from)
  closeSync(file)
}

/** As the kernel leaves it when it has met an error: without that, a file system that was unmounted counts as clean. */
const markFaulty = (): string => debugfs('set_super_value state 2')

suite('a damaged data partition', () => {
  before(async () => {
    home = mkdtempSync(join(tmpdir(), 'repair-'))
    writeFileSync(join(home, 'content'), CONTENT)
  })
  after(() => rmSync(home, { recursive: true, force: true }))

  async function fresh(): Promise<void> {
    image = join(home, 'data.ext4')
    const layout = layoutOf(read('image/partitions.sfdisk'))
    const me = `${process.getuid!()} ${process.getgid!()}`
    await makeDataPartition(
      image,
      layout.data.size,
      home,
      [`0755 ${me} adu`, `0700 ${me} adu/state`, `0755 ${me} log`],
      1_760_000_000,
    )
    truncateSync(image, BYTES)
    assert.equal(e2('resize2fs', '-f', image).status, 0)
    for (const path of ['/adu/du-config.json', '/log/torn']) debugfs(`write ${join(home, 'content')} ${path}`)
    assert.ok(isWhole())
  }

  const DAMAGES: readonly (readonly [string, () => void])[] = [
    ['bitmaps that say all is free', () => void [debugfs('freeb 0 2000'), debugfs('freei /adu/du-config.json')]],
    ['an inode in the middle of a write', () => void debugfs('clri /log/torn')],
    ['two files with the same blocks', () => void debugfs('copy_inode /adu/du-config.json /log/torn')],
    ['a folder that has lost its name', () => void debugfs('unlink /log')],
    ['a superblock of zeros', () => zero(0, 4096)],
  ]
  for (const [what, damage] of DAMAGES)
    test(`${what}: repaired without a question, and the configuration is still there`, async () => {
      await fresh()
      damage()
      if (what !== 'a superblock of zeros') markFaulty()
      assert.ok(!isWhole(), 'the damage is one')
      const { status, said } = e2('e2fsck', '-y', image)
      // 1: errors corrected.
      assert.equal(status, 1, said)
      assert.ok(isWhole(), said)
      assert.equal(contentOf('/adu/du-config.json'), CONTENT)
    })

  test('a partition of which nothing is left is not made up: the check fails, and the boot goes on without it', async () => {
    await fresh()
    truncateSync(image, 0)
    truncateSync(image, BYTES)
    const { status, said } = e2('e2fsck', '-y', image)
    // 8: operational error.
    assert.equal(status, 8, said)
    assert.doesNotMatch(e2('dumpe2fs', '-h', image).said, /Inode count/)
  })

  test('the image asks for this: a check of the boot and data partitions, repairs, and no stop when they fail', () => {
    const rows = read('image/rootfs/etc/fstab')
      .split('\n')
      .map(line => line.split(' '))
    for (const place of ['/boot/firmware', '/data']) {
      const [, , , options, , pass] = rows.find(row => row[1] === place) ?? assert.fail(place)
      assert.equal(pass, '2', place)
      assert.ok(options!.split(',').includes('nofail'), place)
    }
    assert.match(read('image/boot/boot.cmd'), /bootargs "[^"]* fsck\.repair=yes /)
    const packages = read('image/packages.txt').split('\n')
    for (const name of ['e2fsprogs', 'dosfstools']) assert.ok(packages.includes(name), name)
  })
})
