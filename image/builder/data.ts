import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { repositoryRoot } from './repository.ts'

/** The folder with the image's lists and files, for people to read and change. */
export const IMAGE = join(repositoryRoot(), 'image')

/** The layer that every image has unless it is left out. */
export const WLAN_LAYER = join(IMAGE, 'layers/wlan')

/** The lines of one of the image's lists, without comments and blank lines. */
export function linesOf(name: string): string[] {
  const text = readFileSync(join(IMAGE, name), 'utf8')
  return text
    .split('\n')
    .map(line => line.trim())
    .filter(line => line !== '' && !line.startsWith('#'))
}

/** Links of the root file system: path, where it leads to. */
export const links = (): [path: string, target: string][] =>
  linesOf('links.txt').map(line => line.split(/\s+/) as [string, string])

/** MBR id of the disk; `PARTUUID`s are this and the partition's number. */
export const DISK_ID = 'ad0ad0ad'

/** The revision that bundles must match; /etc/hwrevision has `board revision`. */
export const DEFAULT_BOARD = 'pi-adu'
export const REVISION = '1.0'
