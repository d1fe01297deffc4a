import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { removeOutput, whole } from '../../image/builder/output.ts'

const home = mkdtempSync(join(tmpdir(), 'output-'))
after(() => rmSync(home, { recursive: true, force: true }))

test('a file appears under its name when it is whole', async () => {
  const file = join(home, 'rootfs.ext4')
  writeFileSync(`${file}.new`, 'left by a build that was killed')
  await whole(file, async path => {
    assert.equal(path, `${file}.new`)
    // What was left is no part of it, and programs that do not overwrite can write.
    writeFileSync(path, 'one', { flag: 'wx' })
    assert.deepEqual(readdirSync(home), ['rootfs.ext4.new'])
  })
  assert.deepEqual(readdirSync(home), ['rootfs.ext4'])
  const failing = whole(file, async path => {
    writeFileSync(path, 'ha')
    throw new Error('no space')
  })
  await assert.rejects(failing, /no space/)
  assert.equal(readFileSync(file, 'utf8'), 'one')
})

test('what an earlier build of a version has left is removed, other versions stay', async () => {
  const dir = mkdtempSync(join(home, 'dir-'))
  const ends = [
    'rpi-imager-manifest',
    'img',
    'img.bmap',
    'img.zst',
    'img.zst.sha256',
    'swu',
    'spdx.json',
    'cdx.json',
    'sizes.txt',
  ]
  const mine = [...ends, 'packages.txt', 'figures.json', 'img.new', 'swu.new'].map(end => `pi-adu-1.0.0.${end}`)
  const others = ['pi-adu-1.0.0-dev.img', 'pi-adu-1.0.0.1.img', 'pi-adu-1.0.0.1.swu', 'pi-adu-1.0.0.notes', 'qemu']
  for (const name of [...mine, ...others, 'rootfs.ext4']) writeFileSync(join(dir, name), 'x')
  await removeOutput(dir, 'pi-adu-1.0.0')
  assert.deepEqual(readdirSync(dir).sort(), others.sort())
  await removeOutput(dir, 'pi-adu-1.0.0')
})
