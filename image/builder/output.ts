import { rename, rm } from 'node:fs/promises'
import { join } from 'node:path'

/** Ends of the files that a build writes for a version. */
const ENDS = [
  ...['img', 'img.bmap', 'img.zst', 'img.zst.sha256', 'rpi-imager-manifest', 'swu'],
  ...['spdx.json', 'cdx.json', 'licences.tar.gz', 'sizes.txt', 'packages.txt', 'figures.json'],
]

/** Removes what an earlier build of this version has left: if this one fails, nothing lies beside files of another build. */
export async function removeOutput(folder: string, name: string): Promise<void> {
  for (const file of [...ENDS.map(end => `${name}.${end}`), 'rootfs.ext4'])
    for (const path of [file, `${file}.new`]) await rm(join(folder, path), { force: true })
}

/** Has a file written beside its place, then moves it there: a build that fails leaves no half file under its name. */
export async function whole(file: string, write: (path: string) => Promise<unknown>): Promise<void> {
  const path = `${file}.new`
  await rm(path, { force: true })
  await write(path)
  await rename(path, file)
}
