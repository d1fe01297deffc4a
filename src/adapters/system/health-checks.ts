import { constants } from 'node:fs'
import { access, open, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { messageOf, ProcessError } from '../../domain/errors.ts'
import type { Log } from '../../ports/log.ts'
import type { Runner } from '../../ports/runner.ts'

/** Files that editors, package managers and version control leave beside a file. */
const LEFTOVER_NAME = /^[.#]|~$|\.(bak|orig|rej|swp|tmp|dpkg-\w+|rpm(new|save|orig)|ucf-\w+)$/

/** Bytes: more than the longest `#!` line that the kernel reads, and enough to see the line endings. */
const HEAD = 4096

/** Milliseconds: a check with less time says nothing about the system. */
const LEAST = 100

/** Called after each check. */
export type OnCheck = (name: string, isGood: boolean) => Promise<void>

/** The owner's own checks: every executable regular file in a folder must exit with 0. They run in the order of their names. */
export class HealthChecks {
  readonly #folder: string
  readonly #timeout: number
  readonly #log: Log
  readonly #runner: Runner
  readonly #ignored = new Set<string>()
  readonly #onCheck: OnCheck

  /** `timeout`: milliseconds for one check. */
  constructor(folder: string, timeout: number, log: Log, runner: Runner, onCheck: OnCheck = async () => {}) {
    this.#folder = folder
    this.#timeout = timeout
    this.#log = log
    this.#runner = runner
    this.#onCheck = onCheck
  }

  /** One line for each check that failed. `within`: milliseconds for all of them together. */
  async findings(signal: AbortSignal, within: number): Promise<readonly string[]> {
    const begun = performance.now()
    const findings: string[] = []
    let names: string[]
    try {
      names = await readdir(this.#folder)
    } catch (error) {
      // Only a missing folder means that there are no checks.
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
      return [`the health checks in ${this.#folder} cannot be read: ${messageOf(error)}`]
    }
    for (const name of names.sort()) {
      if (!(await this.#isCheck(name))) continue
      const left = within - (performance.now() - begun)
      const finding = left < LEAST ? 'was not run: no time was left' : await this.#run(name, left, signal)
      await this.#onCheck(name, finding === undefined)
      if (finding !== undefined) findings.push(`health check ${name} ${finding}`)
    }
    return findings
  }

  async #isCheck(name: string): Promise<boolean> {
    const why = await this.#noCheck(name)
    if (why === undefined) return true
    if (!this.#ignored.has(name)) this.#log.warn('health.ignored', { file: join(this.#folder, name), why })
    this.#ignored.add(name)
    return false
  }

  async #noCheck(name: string): Promise<string | undefined> {
    if (LEFTOVER_NAME.test(name)) return 'its name is that of a hidden or backup file'
    try {
      const found = await stat(join(this.#folder, name))
      if (!found.isFile()) return 'it is not a regular file'
      return (found.mode & 0o111) === 0 ? 'it is not executable (chmod +x makes it a check)' : undefined
    } catch (error) {
      // A dangling link. Any other problem shows when the check is run.
      return (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'it does not exist' : undefined
    }
  }

  async #run(name: string, left: number, signal: AbortSignal): Promise<string | undefined> {
    const file = join(this.#folder, name)
    try {
      await this.#runner.runQuietly([file], { signal, timeout: Math.min(this.#timeout, left), code: 'HEALTH' })
      return undefined
    } catch (error) {
      signal.throwIfAborted()
      if (!(error instanceof ProcessError)) throw error
      const said = error.message.slice(file.length + 1)
      const hint = await flawOf(file)
      const isStarted = error.exitCode !== undefined || error.signal !== undefined || said.startsWith('did not end')
      if (!isStarted) return `cannot be started: ${hint ?? reasonOf(error.cause)}`
      return hint === undefined ? said : `${said} (${hint})`
    }
  }
}

const reasonOf = (cause: unknown): string =>
  (cause as NodeJS.ErrnoException | undefined)?.code === 'EACCES' ? "the agent's user may not run it" : messageOf(cause)

/** What is wrong with a script, if its first lines show it: the kernel only reports "no such file" for the script itself. */
async function flawOf(file: string): Promise<string | undefined> {
  const head = await headOf(file)
  const interpreter = /^#![ \t]*([^ \t\n]+)/.exec(head)?.[1]
  if (/^[^\n]*\r\n/.test(head)) {
    const named = interpreter?.endsWith('\r') ? `: its interpreter would be "${interpreter.slice(0, -1)}\\r"` : ''
    return `it has Windows line ends (CRLF)${named}; save it with LF`
  }
  if (interpreter === undefined) return undefined
  const missing = await access(interpreter, constants.X_OK).then(
    () => false,
    () => true,
  )
  return missing ? `its interpreter ${interpreter} does not exist or cannot be run` : undefined
}

async function headOf(file: string): Promise<string> {
  const handle = await open(file, 'r').catch(() => undefined)
  if (!handle) return ''
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(HEAD), 0, HEAD, 0)
    return buffer.subarray(0, bytesRead).toString('latin1')
  } catch {
    return ''
  } finally {
    await handle.close()
  }
}
