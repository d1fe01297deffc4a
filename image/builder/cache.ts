import { createHash } from 'node:crypto'
import { createReadStream, rmSync } from 'node:fs'
import { appendFile, mkdir, readdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises'
import { homedir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { run } from './run.ts'

const HOME = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'pi-adu-agent')

/** Entries kept of each kind, besides those in use by a running build: one per variant. */
export const KEPT = 2

/** One file per process; its lines are the entries in use. */
const USES = join(HOME, 'uses')
const OWN_USES = join(USES, String(process.pid))

/**
 * A folder filled by `make`, cached outside the checkout under a hash of `inputs`. It is made again only if an input has
 * changed. An interrupted build leaves nothing that looks complete. The folder stays at least until this process ends.
 */
export async function cached(
  name: string,
  inputs: readonly unknown[],
  make: (dir: string) => Promise<void>,
): Promise<string> {
  const key = createHash('sha256').update(JSON.stringify(inputs)).digest('hex').slice(0, 16)
  const home = join(HOME, name)
  const dir = join(home, key)
  // Claim first, then look: `tidy` does both in the opposite order.
  await use(dir)
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
  } catch (error) {
    await rm(work, { recursive: true, force: true })
    // Another build finished the same entry first.
    if (!(await exists(dir))) throw error
  }
  await tidy(KEPT, [name])
  return dir
}

/** The cache's folder, and how many bytes of disk it uses. */
export async function cacheSize(): Promise<{ readonly home: string; readonly bytes: number }> {
  const text = await run(['du', '-s', '-k', HOME]).catch(() => '0')
  return { home: HOME, bytes: Number(text.split('\t')[0]) * 1024 }
}

/** Deletes all but the last `kept` of each kind, except entries that a running process uses or makes. */
export async function tidy(kept: number, kinds?: readonly string[]): Promise<void> {
  const used = await inUse()
  for (const kind of kinds ?? (await namesIn(HOME))) {
    if (kind === basename(USES)) continue
    const home = join(HOME, kind)
    const found = []
    for (const name of await namesIn(home)) {
      const maker = /\.new-(\d+)$/.exec(name)?.[1]
      const path = join(home, name)
      if (maker !== undefined ? isAlive(Number(maker)) : used.has(path)) continue
      const usedAt = (await stat(path).catch(() => undefined))?.mtimeMs
      if (usedAt !== undefined)
        found.push({ path, usedAt: maker === undefined ? usedAt : 0, isWhole: maker === undefined })
    }
    found.sort((one, two) => two.usedAt - one.usedAt)
    const inUseHere = [...used].filter(path => dirname(path) === home).length
    let left = Math.max(0, kept - inUseHere)
    for (const { path, isWhole } of found) {
      if (isWhole && left-- > 0) continue
      await rm(path, { recursive: true, force: true })
    }
  }
}

async function use(dir: string): Promise<void> {
  await mkdir(USES, { recursive: true })
  await appendFile(OWN_USES, `${dir}\n`)
  if (process.listeners('exit').includes(endUse)) return
  process.once('exit', endUse)
}

const endUse = (): void => rmSync(OWN_USES, { force: true })

async function inUse(): Promise<ReadonlySet<string>> {
  const used = new Set<string>()
  for (const pid of await namesIn(USES)) {
    const file = join(USES, pid)
    if (!isAlive(Number(pid))) await rm(file, { force: true })
    else for (const dir of (await readFile(file, 'utf8').catch(() => '')).split('\n')) used.add(dir)
  }
  return used
}

const namesIn = (dir: string): Promise<string[]> => readdir(dir).catch(() => [])

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** A hash of all files below the folders and of their relative names, for use as an input. */
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

/** SHA-256 of one file, in hexadecimal. */
export async function sha256(file: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(file)) hash.update(chunk)
  return hash.digest('hex')
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined
}
