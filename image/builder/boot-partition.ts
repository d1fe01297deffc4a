import { copyFile, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { DISK_ID, IMAGE } from './data.ts'
import type { Layers } from './layers.ts'
import { run } from './run.ts'

/** Pi 3 and Zero 2 W, Pi 4. */
const FIRMWARE = ['bootcode.bin', 'start.elf', 'fixup.dat', 'start4.elf', 'fixup4.dat']

/** Bytes of a boot state file: one sector. */
const STATE_BYTES = '0x200'

/** The agent's group may write these once mounted; all other files have the read-only attribute of FAT. */
const STATE_FILES = ['boot.env', 'boot.bak']

/** Makes the FAT file system of the boot partition in `output`; layers may add lines to config.txt, and overlays. */
export async function makeBootPartition(
  output: string,
  bytes: number,
  parts: string,
  work: string,
  epoch: number,
  { bootLines, overlays }: Pick<Layers, 'bootLines' | 'overlays'>,
) {
  const dir = join(work, 'boot')
  await run(['rm', '-rf', dir])
  await mkdir(dir, { recursive: true })
  for (const name of FIRMWARE)
    await copyFile(join(parts, 'raspi-firmware/usr/lib/raspi-firmware', name), join(dir, name))
  const [kernel] = (await readdir(join(parts, 'kernel/usr/lib'))).filter(name => name.startsWith('linux-image-'))
  const trees = join(parts, 'kernel/usr/lib', kernel!, 'broadcom')
  for (const name of await readdir(trees)) {
    if (/^bcm(2711|2837)-rpi-.*\.dtb$/.test(name)) await copyFile(join(trees, name), join(dir, name))
  }
  const uboot = join(parts, 'u-boot-rpi/usr/lib/u-boot/rpi_arm64/u-boot.bin')
  await copyFile(uboot, join(dir, 'u-boot.bin'))
  // The lines of layers before the owner's own, which come last.
  const [head = '', tail = ''] = (await readFile(join(IMAGE, 'boot/config.txt'), 'utf8')).split(/(?=^# Yours)/m)
  await writeFile(join(dir, 'config.txt'), [head, ...bootLines.map(line => `${line}\n`), tail].join(''))
  await copyFile(join(IMAGE, 'boot/usercfg.txt'), join(dir, 'usercfg.txt'))
  await makeBootScript(join(dir, 'boot.scr'), work, epoch)
  await environment(join(dir, 'uboot.env'), '0x4000', defaultEnvironment(await readFile(uboot)))
  for (const name of STATE_FILES)
    await environment(join(dir, name), STATE_BYTES, ['primary=a', 'trial=none', 'tries=0'])

  await run(['rm', '-f', output])
  await run(['truncate', '-s', String(bytes), output])
  await run(['mkfs.vfat', '-F', '32', '-n', 'BOOT', '-i', DISK_ID, '--invariant', output])
  const names = (await readdir(dir)).sort()
  for (const name of names) await run(['touch', '-d', `@${epoch}`, join(dir, name)])
  if (overlays.length > 0) {
    await run(['mmd', '-i', output, '::overlays'], { env: { SOURCE_DATE_EPOCH: String(epoch) } })
    const copies = join(work, 'overlays')
    await run(['rm', '-rf', copies])
    await mkdir(copies)
    for (const { from } of overlays) {
      const copy = join(copies, basename(from))
      await copyFile(from, copy)
      await run(['touch', '-d', `@${epoch}`, copy])
      await run(['mcopy', '-m', '-i', output, copy, '::overlays'])
    }
  }
  await run(['mcopy', '-m', '-i', output, ...names.map(name => join(dir, name)), '::'])
  await run([
    'mattrib',
    '-i',
    output,
    '+r',
    ...names.filter(name => !STATE_FILES.includes(name)).map(name => `::${name}`),
  ])
}

/** The boot script in the form that U-Boot reads. */
export async function makeBootScript(output: string, work: string, epoch: number): Promise<void> {
  const text = (await readFile(join(IMAGE, 'boot/boot.cmd'), 'utf8')).replaceAll('@DISK_ID@', DISK_ID)
  await writeFile(join(work, 'boot.cmd'), text)
  await run(
    ['mkimage', '-A', 'arm64', '-T', 'script', '-C', 'none', '-n', 'pi-adu', '-d', join(work, 'boot.cmd'), output],
    {
      env: { SOURCE_DATE_EPOCH: String(epoch) },
    },
  )
}

/** Writes variables in U-Boot's format: checksum first, padded to `bytes`. */
export async function environment(output: string, bytes: string, lines: readonly string[]): Promise<void> {
  await run(['mkenvimage', '-s', bytes, '-p', '0', '-o', output, '-'], {
    stdin: 'pipe',
    input: `${lines.join('\n')}\n`,
  })
}

/**
 * U-Boot's environment; this file on the card replaces the built-in one. It leaves out what costs time or does harm: after
 * U-Boot's `usb start` Linux cannot use the USB controller of QEMU's Pi 3. No watchdog runs at U-Boot's prompt, so neither
 * noise on the serial line nor a failed read may lead there. No other disk is tried, because only this card has the file.
 */
function defaultEnvironment(uboot: Buffer): string[] {
  const start = uboot.indexOf('bootcmd=bootflow scan')
  const end = uboot.indexOf('\0\0', start)
  if (start < 0 || end < 0) throw new Error('u-boot.bin has no built-in environment where it was expected')
  const lines = uboot.toString('latin1', start, end).split('\0')
  const own = ['bootdelay=-2', 'boot_targets=mmc', 'bootcmd=bootflow scan; sleep 5; reset']
  return [...lines.filter(line => !/^(preboot|bootdelay|boot_targets|bootcmd)=/.test(line)), ...own]
}
