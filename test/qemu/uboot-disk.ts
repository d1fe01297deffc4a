import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { makeBootScript } from '../../image/builder/boot-partition.ts'
import { bootParts } from '../../image/builder/debian.ts'
import { run } from '../../image/builder/run.ts'
import { Machine } from '../../image/qemu/machine.ts'

const START = 2048 * 512

/** Starts our boot script, in U-Boot, with a disk that has little more than the boot state. */
export class UbootDisk {
  readonly #dir: string

  private constructor(dir: string) {
    this.#dir = dir
  }

  static async make(dir: string): Promise<UbootDisk> {
    const parts = await bootParts('')
    await mkdir(join(dir, 'firmware'), { recursive: true })
    const uboot = join(parts, 'u-boot-qemu/usr/lib/u-boot/qemu_arm64/u-boot.bin')
    await copyFile(uboot, join(dir, 'firmware/u-boot-virt.bin'))
    const empty = join(dir, 'empty.img')
    await run(['truncate', '-s', '18M', empty])
    await run(['sfdisk', '--quiet', empty], {
      stdin: 'pipe',
      input: 'label: dos\nstart=2048, size=32768, type=c, bootable\n',
    })
    await run(['mkfs.vfat', '-F', '16', '--offset', '2048', empty, '16384'])
    await makeBootScript(join(dir, 'boot.scr'), dir, 0)
    await run(['mcopy', '-i', `${empty}@@${START}`, join(dir, 'boot.scr'), '::boot.scr'])
    return new UbootDisk(dir)
  }

  get path(): string {
    return join(this.#dir, 'disk.img')
  }

  /** A fresh disk with these files; undefined ones are missing. */
  async prepare(files: Readonly<Record<string, Buffer | undefined>>): Promise<void> {
    await copyFile(join(this.#dir, 'empty.img'), this.path)
    for (const [name, content] of Object.entries(files)) {
      if (!content) continue
      await writeFile(join(this.#dir, name), content)
      await run(['mcopy', '-o', '-i', `${this.path}@@${START}`, join(this.#dir, name), `::${name}`])
    }
  }

  async read(name: string): Promise<Buffer | undefined> {
    try {
      await run(['mcopy', '-n', '-o', '-i', `${this.path}@@${START}`, `::${name}`, join(this.#dir, 'read')])
      return await readFile(join(this.#dir, 'read'))
    } catch {
      return undefined
    }
  }

  powerOn(
    options: { readonly writeLog?: string; readonly disk?: string; readonly more?: readonly string[] } = {},
  ): Promise<Machine> {
    const { writeLog, disk = this.path, more = [] } = options
    return Machine.start({
      board: 'virt',
      disk,
      ...(writeLog !== undefined && { writeLog }),
      firmware: join(this.#dir, 'firmware'),
      dir: this.#dir,
      more: ['-m', '512', ...more],
    })
  }
}
