import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { makeBootPartition } from '../../image/builder/boot-partition.ts'

const home = mkdtempSync(join(tmpdir(), 'boot-partition-'))
after(() => rmSync(home, { recursive: true, force: true }))

const TOOLS = ['mkimage', 'mkenvimage', 'mkfs.vfat', 'mcopy']
const PATH = `${process.env.PATH}:/usr/sbin:/sbin`
const missing = TOOLS.filter(tool => spawnSync('sh', ['-c', `command -v ${tool}`], { env: { PATH } }).status !== 0)
const skip = missing.length > 0 && `needs ${missing.join(', ')}, which scripts/build-image installs`

test('the same call gives the same bytes, whenever it is made, with overlays of a layer too', { skip }, async () => {
  const put = (path: string, text: string): string => {
    const file = join(home, path)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, text)
    return file
  }
  for (const name of ['bootcode.bin', 'start.elf', 'fixup.dat', 'start4.elf', 'fixup4.dat'])
    put(`parts/raspi-firmware/usr/lib/raspi-firmware/${name}`, name)
  put('parts/kernel/usr/lib/linux-image-6.12/broadcom/bcm2711-rpi-4-b.dtb', 'tree')
  put('parts/u-boot-rpi/usr/lib/u-boot/rpi_arm64/u-boot.bin', 'code bootcmd=bootflow scan\0arch=arm\0\0code')
  const layers = {
    bootLines: ['dtoverlay=clock'],
    overlays: [{ from: put('clock.dtbo', 'overlay'), path: 'clock.dtbo' }],
  }
  const made: Buffer[] = []
  for (const name of ['one', 'two']) {
    const [output, work] = [join(home, `${name}.vfat`), join(home, name)]
    mkdirSync(work)
    await makeBootPartition(output, 40 * 2 ** 20, join(home, 'parts'), work, 1_760_000_000, layers)
    made.push(readFileSync(output))
    // FAT counts in two seconds.
    await sleep(2100)
  }
  assert.ok(made[0]!.equals(made[1]!))
})
