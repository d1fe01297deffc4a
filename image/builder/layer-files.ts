import { createHash } from 'node:crypto'
import { lstat, readdir, readFile, readlink } from 'node:fs/promises'
import { join, posix } from 'node:path'
import { jsonText } from '../../src/domain/terminal.ts'
import { whyProtected } from './layer-paths.ts'
import { secretIn } from './layer-secrets.ts'

/** A file of a layer, and where it goes in the root file system. */
export interface LayerFile {
  /** On this machine. */
  readonly from: string
  /** Relative to the root, with `/`. */
  readonly path: string
}

/** Of a list, and of a key. */
export const MAX_LIST_BYTES = 2 ** 20
const MAX_FILE_BYTES = 2 ** 29
const MAX_ENTRIES = 100_000

/** The text of a list; empty, with a problem, when it cannot be read as text. */
export async function readText(folder: string, name: string, problems: string[]): Promise<string> {
  const path = join(folder, name)
  const found = await lstat(path).catch(() => undefined)
  const problem = (why: string): string => {
    problems.push(`${name} ${why}`)
    return ''
  }
  if (!found) return problem('is missing')
  if (!found.isFile()) return problem('is not a regular file')
  if (found.size > MAX_LIST_BYTES) return problem('is larger than 1 MiB')
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(await readFile(path))
    return text.includes('\0') ? problem('is not a text: it contains zeros') : text
  } catch {
    return problem('is not UTF-8')
  }
}

/** All below `folder/top` that is not a directory, sorted. */
export async function walk(folder: string, top: string, problems: string[]): Promise<readonly LayerFile[]> {
  const files: LayerFile[] = []
  const visit = async (path: string): Promise<void> => {
    const from = join(folder, path)
    // First: a name that is not UTF-8 does not lead to its file.
    if (path !== top && /[\p{Cc}\p{Cf}\u2028\u2029\ufffd]/u.test(path))
      return void problems.push(`${printable(path)}: the name has characters that names of files must not have`)
    const found = await lstat(from)
    if (found.isDirectory()) {
      if ((found.mode & 0o7000) !== 0) problems.push(`${path}: setuid, setgid and sticky folders are refused`)
      for (const name of (await readdir(from)).sort()) await visit(posix.join(path, name))
    } else if (path === top) problems.push(`${top} is not a folder`)
    else if (files.length >= MAX_ENTRIES) throw new Error(`layer ${folder}: ${top} has more than ${MAX_ENTRIES} files`)
    else files.push({ from, path })
  }
  await visit(top)
  return files
}

/** Why a file of a layer cannot be taken; undefined when it can. */
export async function refusal(top: string, path: string, from: string): Promise<string | undefined> {
  const found = await lstat(from)
  if (top === 'rootfs') {
    const why = whyProtected(path)
    if (why) return why
  } else if (path.includes('/') || path.startsWith('.')) return 'only files are taken here'
  if (found.isSymbolicLink()) {
    if (top !== 'rootfs') return 'links are refused here'
    return leadsOut(path, await readlink(from)) ? 'the link leads out of the root file system' : undefined
  }
  if (!found.isFile()) return 'it is neither a file nor a link nor a folder'
  if ((found.mode & 0o7000) !== 0) return 'setuid, setgid and sticky files are refused'
  if (found.size > MAX_FILE_BYTES) return `it is larger than ${MAX_FILE_BYTES / 2 ** 20} MiB`
  if (top === 'health.d' && (found.mode & 0o100) === 0) return 'a health check must be executable'
  const content = await readFile(from)
  if (top === 'overlays') {
    if (!/^[\w.+-]{1,60}\.dtbo$/.test(path)) return 'an overlay has a name like my-board.dtbo'
    return content.length >= 4 && content.readUInt32BE(0) === 0xd00dfeed ? undefined : 'it is not a device tree overlay'
  }
  if (top === 'health.d' && !/^(#!|\x7fELF)/.test(content.toString('latin1', 0, 4)))
    return 'a health check begins with #! or is an ELF program'
  const what = secretIn(path, content)
  return what && `it looks like a secret (${what}): every device would have it. Name it in secrets.txt`
}

/** Whether a relative link climbs above the root. An absolute one is read from the root of the device. */
function leadsOut(path: string, target: string): boolean {
  if (target.startsWith('/')) return posix.normalize(target).split('/').includes('..')
  return posix.normalize(posix.join(posix.dirname(path), target)).startsWith('..')
}

/** Of content and executable bit, or of a link's target: it decides the hash of the layer. */
export async function fingerprint(file: string): Promise<string> {
  const found = await lstat(file)
  if (found.isSymbolicLink()) return `link ${await readlink(file)}`
  if (!found.isFile() || found.size > MAX_FILE_BYTES) return 'refused'
  return `${found.mode & 0o100} ${createHash('sha256')
    .update(await readFile(file))
    .digest('hex')}`
}

/** A text of strangers, on one line. */
export const printable = (text: string): string => jsonText(text.slice(0, 120)).slice(1, -1)
