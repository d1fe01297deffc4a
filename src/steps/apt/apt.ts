import { setTimeout as sleep } from 'node:timers/promises'
import type { AptWork } from '../../domain/deployment.ts'
import { AgentError } from '../../domain/errors.ts'
import type { AptManifest } from '../../handlers/apt/apt-manifest.ts'
import type { Job, Launched } from '../worker.ts'
import { APT_ENVIRONMENT, type Command, removeCommand, repairCommand, stateCommand, updateCommand } from './commands.ts'
import { judge, lastLines, lockHolder, readStatus, type Said, type Stage, updateFlaw } from './output.ts'
import { type PackageState, readStates } from './states.ts'

/** How often an interrupted dpkg is repaired before apt's word for it is final. */
const REPAIRS = 2

/** Lines that are kept of one program: enough for a plan of many packages, and no end of memory. */
const MAX_LINES = 20_000

/** Runs the programs of apt for one step. */
export class Apt {
  readonly #job: Job<AptWork>
  readonly #signal: AbortSignal

  constructor(job: Job<AptWork>, signal: AbortSignal) {
    this.#job = job
    this.#signal = signal
  }

  /**
   * Gets the lists. A failure is no error: the old lists may do. Resolves with why, if not all of them are new. Errors: AgentError
   * `APT_LOCKED`, because apt does not wait for the lock of the lists itself.
   */
  async update(): Promise<string | undefined> {
    const last = Date.now() + this.#job.settings.packages.lockSeconds * 1000
    for (;;) {
      const { launched, said } = await this.#launch(updateCommand(), this.#signal)
      const holder = launched.exitCode === 0 ? undefined : lockHolder(said.lines)
      if (holder === undefined) return updateFlaw(launched, said)
      if (Date.now() >= last) throw new AgentError('APT_LOCKED', this.#sentence('update', holder, said))
      await sleep(1000, undefined, { signal: this.#signal })
    }
  }

  /**
   * Runs `apt-get install` for a stage, and first repairs an interrupted dpkg if apt asks for it. Resolves with what it said.
   * `flaw`: of the lists, which may be the cause of a failure. Errors: AgentError `APT_…`, with the last lines.
   */
  async run(stage: Stage, command: Command, flaw?: string): Promise<readonly string[]> {
    let repair = ''
    for (let repairs = 0; ; repairs += 1) {
      const { launched, said } = await this.#launch(command, this.#signalFor(stage), stage)
      const outcome = judge(stage, launched, said)
      if (outcome.is === 'fine') {
        if (stage !== 'plan') this.#job.progress(100)
        return said.lines
      }
      if (outcome.is === 'failed')
        throw new AgentError(outcome.code, this.#sentence(stage, outcome.why, said, flaw) + repair)
      if (repairs === REPAIRS)
        throw new AgentError('APT_INSTALL', this.#sentence(stage, 'dpkg was interrupted', said) + repair)
      const done = await this.#launch(repairCommand, NEVER)
      repair = done.launched.exitCode === 0 ? '' : `; dpkg --configure -a: ${lastLines(done.said.lines, 300)}`
      // apt waits for this lock, dpkg does not.
      if (lockHolder(done.said.lines) !== undefined) await sleep(1000, undefined, { signal: this.#signal })
    }
  }

  /** What dpkg has of the listed packages. Errors: AgentError `APT_INSTALL` when it cannot say. */
  async states(manifest: AptManifest, signal: AbortSignal): Promise<readonly PackageState[]> {
    const { launched, said } = await this.#launch(stateCommand(manifest), signal)
    // 1: it does not know one of them.
    if (launched.exitCode === 0 || launched.exitCode === 1) return readStates(said.lines)
    throw new AgentError('APT_INSTALL', `dpkg-query ${launched.complaint ?? 'failed'}: ${lastLines(said.lines, 300)}`)
  }

  /** Removes packages from apt's cache. What is not removed takes space and does no other harm. */
  async forget(paths: readonly string[]): Promise<void> {
    if (paths.length > 0) await this.#launch(removeCommand(paths), NEVER)
  }

  #signalFor(stage: Stage): AbortSignal {
    if (stage !== 'install') return this.#signal
    this.#signal.throwIfAborted()
    return NEVER
  }

  async #launch(command: Command, signal: AbortSignal, stage?: Stage): Promise<{ launched: Launched; said: Said }> {
    const lines: string[] = []
    const errors: string[] = []
    const onLine = (given: string): void => {
      // The rest was overwritten on a terminal: dpkg counts up.
      const line = given.slice(given.trimEnd().lastIndexOf('\r') + 1).trimEnd()
      const status = readStatus(line)
      if (status?.is === 'error') errors.push(status.text)
      else if (status !== undefined && status.is === stage) this.#job.progress(Math.floor(status.percent))
      else if (status === undefined && lines.push(line) > MAX_LINES) lines.shift()
    }
    const launched = await this.#job.launch(command, {
      signal,
      writes: 'system',
      cwd: '/',
      env: APT_ENVIRONMENT,
      onLine,
    })
    signal.throwIfAborted()
    return { launched, said: { lines, errors } }
  }

  #sentence(stage: Stage | 'update', why: string, { lines }: Said, flaw?: string): string {
    const what =
      stage === 'update'
        ? 'apt-get update'
        : stage === 'install'
          ? 'apt-get install'
          : 'apt-get install, before the download'
    const lists = flaw === undefined ? '' : `; the lists are not all new (${flaw})`
    return `${stage === 'download' ? 'apt-get download' : what}: ${why}${lists}; it said: ${lastLines(lines)}`
  }
}

/** For what must not be cut short. */
export const NEVER: AbortSignal = new AbortController().signal
