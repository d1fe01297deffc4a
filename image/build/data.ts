import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { repositoryRoot } from './repository.ts'

/** What a person reads and changes. */
export const IMAGE = join(repositoryRoot(), 'image')

/** Lines of one of the image's lists, without comments and blank ones. */
export function linesOf(name: string): string[] {
  const text = readFileSync(join(IMAGE, name), 'utf8')
  return text
    .split('\n')
    .map(line => line.trim())
    .filter(line => line !== '' && !line.startsWith('#'))
}

/** MBR id of the disk; `PARTUUID`s are this and the partition's number. */
export const DISK_ID = 'ad0ad0ad'

/** What bundles must be for: `board revision`, in /etc/hwrevision. */
export const DEFAULT_BOARD = 'pi-adu'
export const REVISION = '1.0'
