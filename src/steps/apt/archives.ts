import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { writeAtomically } from '../../adapters/files/atomic-file.ts'

/** In the step's folder. No file of a deployment has a name that begins like this. */
const NOTE = '-archives.json'

/** Remembers which files the step's download adds to apt's cache. Others in there are not the step's to remove. */
export async function noteArchives(folder: string, names: readonly string[]): Promise<void> {
  if (names.length === 0) return
  const all = new Set([...(await notedArchives(folder)), ...names])
  await writeAtomically(join(folder, NOTE), JSON.stringify([...all]))
}

/** The files that the step's downloads, also interrupted ones, have added. */
export async function notedArchives(folder: string): Promise<readonly string[]> {
  try {
    const names: unknown = JSON.parse(await readFile(join(folder, NOTE), 'utf8'))
    return Array.isArray(names) ? names.filter(isArchive) : []
  } catch {
    return []
  }
}

/** A name as apt gives the files in its cache: `zsh_5%3a9-4_arm64.deb`. */
export const isArchive = (name: unknown): name is string =>
  typeof name === 'string' && /^[a-z0-9][\w.+~%-]*\.deb$/.test(name)
