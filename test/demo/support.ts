import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { execa } from 'execa'
import { repositoryRoot } from '../../image/builder/repository.ts'

export const root = repositoryRoot()

export const newDir = async (): Promise<string> => realpath(await mkdtemp(join(tmpdir(), 'demo-test-')))

export async function tempDir(t: TestContext): Promise<string> {
  const dir = await newDir()
  t.after(() => rm(dir, { recursive: true, force: true }))
  return dir
}

/** One of the verbs in scripts/, from the folder `cwd`. Its exit code is for the caller to judge. */
export function script(name: string, args: readonly string[], cwd = root) {
  return execa(join(root, 'scripts', name), args, { cwd, reject: false, stdin: 'ignore', timeout: 240_000 })
}

/** The processes that have to do with a folder: that run in it, or are told of it. */
export function processesOf(dir: string): string[] {
  return readdirSync('/proc').flatMap(pid => {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) return []
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ')
      const near = readlinkSync(`/proc/${pid}/cwd`).startsWith(dir) || command.includes(dir)
      return near ? [`${pid} ${command}`] : []
    } catch {
      return [] // ended meanwhile, or another user's
    }
  })
}
