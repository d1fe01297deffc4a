import { closeSync, constants, openSync } from 'node:fs'
import { basename, dirname } from 'node:path'

/** sun_path has 108 bytes, including the final NUL (unix(7)). */
const MAX_PATH = 107

/**
 * A path to the same socket that is short enough for the kernel. A long path goes through the descriptor of its folder,
 * which must stay open as long as the path is used. Throws if the folder cannot be opened.
 */
export function socketAddress(path: string): { readonly path: string; close(): void } {
  if (Buffer.byteLength(path) <= MAX_PATH) return { path, close: () => {} }
  const folder = openSync(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY)
  return { path: `/proc/self/fd/${folder}/${basename(path)}`, close: () => closeSync(folder) }
}
