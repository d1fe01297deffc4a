import { lstat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { messageOf } from '../domain/errors.ts'

/**
 * Why a file that decides what runs with high rights cannot be trusted; undefined: it can. It and its folder must belong to root
 * or to the user of this process, and nobody else may write them. A link is not followed.
 */
export async function whyNotOwned(path: string): Promise<string | undefined> {
  try {
    const folder = dirname(path)
    const [file, around] = [await lstat(path), await lstat(folder)]
    if (!file.isFile()) return `${path} is not a regular file`
    for (const [name, { uid, mode }] of [
      [path, file],
      [folder, around],
    ] as const) {
      if (uid !== 0 && uid !== process.getuid?.()) return `${name} does not belong to root`
      if ((mode & 0o022) !== 0) return `${name} may be written by others than root`
    }
    return undefined
  } catch (error) {
    return messageOf(error)
  }
}
