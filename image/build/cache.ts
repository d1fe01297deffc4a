import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, readdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises'
import { homedir } from 'node:os'
import { basename, join } from 'node:path'

const HOME = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'pi-adu-agent')

/** Of one kind: what else was not used for a day is forgotten. Another build may be at work with anything younger. */
const KEPT = 4
const DAY_MS = 86_400_000

/**
 * A folder with what `make` writes into it, kept outside the checkout under a hash of `inputs`. Made again only when an
 * input has changed; a build that was interrupted leaves nothing that a later one would take for complete.
 */
export async function cached(
  name: string,
  inputs: readonly unknown[],
  make: (dir: string) => Promise<void>,
): Promise<string> {
  const key = createHash('sha256').update(JSON.stringify(inputs)).digest('hex').slice(0, 16)
  const home = join(HOME, name)
  const dir = join(home, key)
  if (await exists(dir)) {
    await utimes(dir, new Date(), new Date())
    return dir
  }
  const work = `${dir}.new-${process.pid}`
  await rm(work, { recursive: true, force: true })
  await mkdir(work, { recursive: true })
  try {
    await make(work)
    await rename(work, dir)
    await tidy(home)
  } catch (error) {
    await rm(work, { recursive: true, force: true })
    // Another build was faster with the same.
    if (!(await exists(dir))) throw error
  }
  return dir
}

async function tidy(home: string): Promise<void> {
  const names = await readdir(home)
  const found = await Promise.all(names.map(async name => ({ name, used: (await stat(join(home, name))).mtimeMs })))
  found.sort((one, two) => two.used - one.used)
  const kept = found.filter(({ name }) => !name.includes('.new-')).slice(0, KEPT)
  for (const entry of found) {
    const maker = /\.new-(\d+)$/.exec(entry.name)?.[1]
    const isNeeded = maker === undefined ? Date.now() - entry.used < DAY_MS : isAlive(Number(maker))
    if (kept.includes(entry) || isNeeded) continue
    await rm(join(home, entry.name), { recursive: true, force: true })
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** A hash of every file below the folders and of their names there, to be an input. */
export async function contentOf(...paths: readonly string[]): Promise<string> {
  const hash = createHash('sha256')
  const visit = async (path: string, name: string): Promise<void> => {
    const found = await stat(path)
    if (!found.isDirectory()) {
      hash.update(`${name.length} ${name} ${found.mode & 0o111} ${found.size}\n`).update(await readFile(path))
      return
    }
    for (const entry of (await readdir(path)).sort()) await visit(join(path, entry), `${name}/${entry}`)
  }
  for (const path of paths) await visit(path, basename(path))
  return hash.digest('hex')
}

/** Of one file, hexadecimal. */
export async function sha256(file: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(file)) hash.update(chunk)
  return hash.digest('hex')
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined
}
