import { constants } from 'node:fs'
import { open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { AptWork } from '../../domain/deployment.ts'
import { AgentError, messageOf } from '../../domain/errors.ts'
import { RESULT_CODE } from '../../domain/result-codes.ts'
import type { StepResult } from '../../domain/step-record.ts'
import { type AptManifest, isOwnPackage, readAptManifest } from '../../handlers/apt/apt-manifest.ts'
import type { Verb } from '../../ports/steps.ts'
import type { Job, Worker } from '../worker.ts'
import { Apt, NEVER } from './apt.ts'
import { noteArchives, notedArchives } from './archives.ts'
import { type AptTerms, downloadCommand, installCommand, planCommand } from './commands.ts'
import {
  CRITERIA_FILE,
  hasCriteria,
  readCriteria,
  readCriteriaFile,
  withCriteria,
  writeCriteriaFile,
} from './criteria.ts'
import { readPlan } from './output.ts'
import { spaceLack, spaceOf } from './space.ts'
import { differences } from './states.ts'

export interface AptWorkerOptions {
  readonly criteriaFile?: string
  /** Where apt keeps downloads. */
  readonly archives?: string
  /** Where packages are unpacked. */
  readonly system?: string
}

/**
 * Installs and removes packages with the real apt-get (PROTOCOL.md, "APT manifest"). Every verb may be repeated, also after it was
 * interrupted: dpkg says what is there, and apt does the rest.
 */
export class AptWorker implements Worker<AptWork> {
  readonly isRepeatable = true
  readonly #options: AptWorkerOptions

  constructor(options: AptWorkerOptions = {}) {
    this.#options = options
  }

  async run(verb: Verb, job: Job<AptWork>, signal: AbortSignal): Promise<StepResult> {
    // A cancel has nothing to undo, and takes no look at the files.
    if (verb === 'cancel') return result(RESULT_CODE.cancelSucceeded)
    try {
      const step = new AptStep(await manifestOf(job), job, signal, this.#options)
      return await step[verb]()
    } catch (error) {
      const isCancelled = signal.aborted && (error === signal.reason || !(error instanceof AgentError))
      if (isCancelled) return result(RESULT_CODE.cancelled, 'cancelled; no package was changed')
      if (!(error instanceof AgentError)) throw error
      return { ...result(RESULT_CODE.failure, error.message), extendedResultCode: error.extendedResultCode }
    }
  }
}

async function manifestOf({ folder, work }: Job<AptWork>): Promise<AptManifest> {
  return readAptManifest(await readFile(join(folder, work.manifest.fileName)))
}

const result = (resultCode: number, resultDetails = ''): StepResult => ({
  resultCode,
  extendedResultCode: 0,
  resultDetails,
})

class AptStep {
  readonly #manifest: AptManifest
  readonly #job: Job<AptWork>
  readonly #apt: Apt
  readonly #signal: AbortSignal
  readonly #options: Required<AptWorkerOptions>

  constructor(manifest: AptManifest, job: Job<AptWork>, signal: AbortSignal, options: AptWorkerOptions) {
    this.#manifest = manifest
    this.#job = job
    this.#signal = signal
    this.#options = {
      ...{ criteriaFile: CRITERIA_FILE, archives: '/var/cache/apt/archives', system: '/usr' },
      ...options,
    }
    this.#apt = new Apt(job, signal)
  }

  /** Both must say so: the criteria alone may be of an earlier time, and dpkg alone does not know the deployment. */
  async isInstalled(): Promise<StepResult> {
    const { installedCriteria = '' } = this.#job.plan
    const entries = readCriteria(await readCriteriaFile(this.#options.criteriaFile))
    if (!hasCriteria(entries, installedCriteria)) {
      return result(RESULT_CODE.isNotInstalled, `${installedCriteria} was not installed by an update`)
    }
    const lacking = differences(this.#manifest, await this.#apt.states(this.#manifest, this.#signal))
    if (lacking.length > 0) return result(RESULT_CODE.isNotInstalled, some(lacking))
    return result(RESULT_CODE.isInstalled)
  }

  async download(): Promise<StepResult> {
    const flaw = await this.#apt.update()
    const { terms, files } = await this.#plan(flaw)
    await noteArchives(this.#job.folder, files)
    await this.#apt.run('download', downloadCommand(this.#manifest, terms), flaw)
    return result(RESULT_CODE.downloaded, flaw ? `apt-get update: ${flaw}` : '')
  }

  /** From the moment when dpkg may run, a cancel comes too late: a package that is half unpacked helps nobody. */
  async install(): Promise<StepResult> {
    const { terms } = await this.#plan()
    const said = await this.#apt.run('install', installCommand(this.#manifest, terms))
    await this.#check(VIRTUAL)
    return result(
      RESULT_CODE.installed,
      said.find(line => /^\d+ upgraded, /.test(line)),
    )
  }

  async apply(): Promise<StepResult> {
    await this.#check()
    const { criteriaFile } = this.#options
    try {
      const entries = readCriteria(await readCriteriaFile(criteriaFile))
      const { installedCriteria = '' } = this.#job.plan
      await writeCriteriaFile(criteriaFile, withCriteria(entries, this.#manifest.name, installedCriteria, new Date()))
    } catch (cause) {
      throw new AgentError('APT_CRITERIA_STORE', `${criteriaFile} cannot be written: ${messageOf(cause)}`, { cause })
    }
    const { folder } = this.#job
    await this.#apt.forget((await notedArchives(folder)).map(name => join(this.#options.archives, name)))
    return result(this.#manifest.agentRestartRequired ? RESULT_CODE.appliedRestartAgent : RESULT_CODE.applied)
  }

  /** dpkg has the last word. `hint`: for a package that is not there. Errors: AgentError `APT_INSTALL`. */
  async #check(hint = ''): Promise<void> {
    const lacking = differences(this.#manifest, await this.#apt.states(this.#manifest, NEVER))
    if (lacking.length === 0) return
    const isAbsent = lacking.some(clause => clause.endsWith(' is not installed'))
    throw new AgentError('APT_INSTALL', `dpkg says that ${some(lacking)}${isAbsent ? hint : ''}`)
  }

  /** Refuses what must not begin. Nothing is downloaded or changed yet. */
  async #plan(flaw?: string): Promise<{ readonly terms: AptTerms; readonly files: readonly string[] }> {
    const { archives, system } = this.#options
    const terms = { ...this.#job.settings.packages, status: await hasPseudoterminals() }
    const plan = readPlan(await this.#apt.run('plan', planCommand(this.#manifest, terms), flaw))
    const agent = plan.removed.find(isOwnPackage)
    if (agent !== undefined)
      throw new AgentError('APT_REMOVES_AGENT', `the packages would remove ${agent}, the update agent`)
    const lack = spaceLack(plan, await spaceOf(archives), await spaceOf(system))
    if (lack !== undefined) throw new AgentError('APT_SPACE', lack)
    return { terms, files: plan.files }
  }
}

async function hasPseudoterminals(): Promise<boolean> {
  const handle = await open('/dev/ptmx', constants.O_RDWR | constants.O_NOCTTY).catch(() => undefined)
  await handle?.close()
  return handle !== undefined
}

/** apt takes such a name, and dpkg does not know it. */
const VIRTUAL = '; instead of a virtual package, list one that provides it'

const some = (clauses: readonly string[]): string =>
  clauses.length > 5 ? `${clauses.slice(0, 5).join('; ')}; and ${clauses.length - 5} more` : clauses.join('; ')
