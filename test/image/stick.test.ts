import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { IMAGE } from '../../image/builder/data.ts'
import { readLayer } from '../../image/builder/layer.ts'

// The program of image/layers/stick on image files, in a mount namespace of its own, with a mount(8) that notes its options and mounts
// an empty file system instead.

const LAYER = join(IMAGE, 'layers/stick')
const home = mkdtempSync(join(tmpdir(), 'stick-'))
after(() => rmSync(home, { recursive: true, force: true }))

const enter = process.getuid?.() === 0 ? ['--mount'] : ['--mount', '--map-root-user']
const skip = spawnSync('unshare', [...enter, 'true']).status !== 0 && 'no mount namespaces here'

const MOUNT = `#!/bin/sh
echo "$@" >>"$HOME/mounted"
case $5 in *damaged*) echo 'wrong fs type, bad option, bad superblock' >&2; exit 32 ;; esac
PATH=\${PATH#*:} exec mount -t tmpfs "$5" "$6"
`

/** Runs shell commands with `stick` and the devices; `see` prints what is mounted and noted. */
function onDevice(commands: string): { readonly said: readonly string[]; readonly mounted: string } {
  const dir = mkdtempSync(join(home, 'device-'))
  mkdirSync(join(dir, 'bin'))
  writeFileSync(join(dir, 'bin/mount'), MOUNT, { mode: 0o755 })
  const setUp = `
set -eu
stick() { "$STICK" "$1" "$2" "$HOME/place" "$HOME"; }
see() { echo "mounted: $(sed -n "s|^$HOME/\\([^ ]*\\) $HOME/place .*|\\1|p" /proc/self/mounts), noted: $(cat place/trouble.txt 2>&- || echo nothing)"; }
cd "$HOME"
for file in fat1 fat2 ext damaged zeros swap; do truncate -s 8M $file; done
mkfs.vfat fat1 >&2; mkfs.vfat fat2 >&2; mkfs.ext4 -q ext; mkfs.vfat damaged >&2; mkswap -q swap 2>&-
`
  const env = { ...process.env, HOME: dir, STICK: join(LAYER, 'rootfs/usr/lib/stick/stick') }
  const PATH = `${join(dir, 'bin')}:${process.env.PATH}:/usr/sbin:/sbin`
  const argv = [...enter, 'sh', '-c', `${setUp}\nexport PATH='${PATH}'\n${commands}`]
  const { stdout, stderr, status } = spawnSync('unshare', argv, {
    env: { ...env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
    encoding: 'utf8',
  })
  assert.equal(status, 0, stderr)
  const { stdout: mounted } = spawnSync('cat', [join(dir, 'mounted')], { encoding: 'utf8' })
  return { said: stdout.trim().replaceAll(dir, '').split('\n'), mounted: mounted.replaceAll(dir, '') }
}

test('a stick is mounted read-only, without programs, devices and other rights, and its journal is left alone', {
  skip,
}, () => {
  const { said, mounted } = onDevice('stick mount fat1; see; stick unmount fat1; see; stick mount ext')
  assert.deepEqual(said, [
    'fat1 (vfat) is mounted read-only at /place',
    'mounted: fat1, noted: nothing',
    'mounted: , noted: nothing',
    'ext (ext4) is mounted read-only at /place',
  ])
  assert.equal(
    mounted,
    '-t vfat -o ro,nosuid,nodev,noexec /fat1 /place\n-t ext4 -o ro,nosuid,nodev,noexec,noload /ext /place\n',
  )
})

for (const [name, line] of [
  ['damaged', 'damaged cannot be mounted: its file system (vfat) is damaged; format it again, or take another stick'],
  ['zeros', 'zeros has no file system that can be recognised: it is damaged, or was never formatted'],
  ['swap', 'swap has the file system swap: format it with FAT32, exFAT or ext4'],
] as const) {
  test(`${name}: one line, no unit that has failed, and a note for the agent until it is pulled`, { skip }, () => {
    const { said } = onDevice(`stick mount ${name}; see; stick unmount ${name}; see`)
    assert.deepEqual(said, [line, `mounted: , noted: ${line}`, 'mounted: , noted: nothing'])
  })
}

test('the good partition of a stick is used, and another stick waits', { skip }, () => {
  const { said, mounted } = onDevice(
    'stick mount zeros; stick mount fat1; see; stick mount fat2; stick unmount fat2; see',
  )
  assert.deepEqual(said.slice(1), [
    'fat1 (vfat) is mounted read-only at /place',
    'mounted: fat1, noted: nothing',
    'fat2 is left alone: another stick is in use',
    'mounted: fat1, noted: nothing',
  ])
  assert.equal(mounted.split('\n').length, 2)
})

test('the layer is one that the builder takes, and the agent of its devices watches the folder', async () => {
  const { config, modules } = await readLayer(LAYER)
  assert.deepEqual(config, { piAdu: { local: { folder: '/run/stick' } } })
  assert.ok(modules.includes('usb-storage'))
})
