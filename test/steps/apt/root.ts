import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { execa } from 'execa'
import type { AptWork, FileEntity, Verified } from '../../../src/domain/deployment.ts'
import { ercText } from '../../../src/domain/result-codes.ts'
import type { Verb } from '../../../src/ports/steps.ts'
import { AptWorker, type AptWorkerOptions } from '../../../src/steps/apt/worker.ts'
import { groupLauncher, type Launcher } from '../../../src/steps/launch.ts'
import { type StepSettings, settingsIn } from '../../../src/steps/settings.ts'
import type { Job, Launched } from '../../../src/steps/worker.ts'
import { debianArchitecture, type Repository } from './repository.ts'

export type Fields = Readonly<Record<string, unknown>>

export interface StepOptions {
  readonly settings?: Partial<StepSettings['packages']>
  readonly criteria?: string
  readonly name?: string
  readonly signal?: AbortSignal
  readonly worker?: AptWorkerOptions
  /** Milliseconds until a program is ended. */
  readonly timeout?: number
}

/** How a step ended: code, extended code, details and what was heard of its progress. */
export interface Ended {
  readonly code: number
  readonly extended: string
  readonly details: string
  readonly progress: readonly number[]
}

/** Programs that may change files of root run as root, or as what looks like it. */
export async function asRoot(): Promise<readonly string[] | undefined> {
  if (process.getuid?.() === 0) return []
  for (const prefix of [
    ['unshare', '--map-root-user'],
    ['fakeroot', '--'],
  ]) {
    const [program = '', ...rest] = prefix
    const { failed } = await execa(program, [...rest, 'true'], { reject: false })
    if (!failed) return prefix
  }
  return undefined
}

/** A root of its own for the machine's own apt and dpkg, with one repository. */
export class Root {
  readonly folder: string
  readonly #prefix: readonly string[]
  /** Called for each line of a program; true kills the program and everything below it, as a power cut does. */
  cut: (line: string) => boolean = () => false
  /** Runs each program inside another one. */
  within: readonly string[] = []

  private constructor(folder: string, prefix: readonly string[]) {
    this.folder = folder
    this.#prefix = prefix
  }

  static async make(t: TestContext, repository: Repository, prefix: readonly string[]): Promise<Root> {
    const folder = await mkdtemp('/tmp/apt-')
    const root = new Root(folder, prefix)
    t.after(() => root.#end())
    const folders = [
      'etc/apt/apt.conf.d',
      'etc/apt/preferences.d',
      'var/lib/dpkg/info',
      'var/lib/dpkg/updates',
      'var/lib/apt/lists',
    ]
    for (const each of [...folders, 'var/cache/apt/archives', 'var/log/apt', 'usr/share', 'tmp', 'work']) {
      await mkdir(join(folder, each), { recursive: true })
    }
    await writeFile(join(folder, 'var/lib/dpkg/status'), '')
    await writeFile(join(folder, 'etc/apt/sources.list'), `${repository.source}\n`)
    await writeFile(root.#config, await configuration(folder))
    return root
  }

  /** The words for the worker: where this root has what a device has elsewhere. */
  get options(): AptWorkerOptions {
    return {
      criteriaFile: join(this.folder, 'var/lib/adu/installedcriteria'),
      archives: join(this.folder, 'var/cache/apt/archives'),
      system: join(this.folder, 'usr'),
    }
  }

  get env(): Readonly<Record<string, string>> {
    return { APT_CONFIG: this.#config, DPKG_ROOT: this.folder }
  }

  /** Runs one verb of a step with these packages, as the step service does. */
  async run(verb: Verb, packages: readonly Fields[] | Fields, options: StepOptions = {}): Promise<Ended> {
    const { name = 'edge', criteria = `${name}-1.0`, signal = new AbortController().signal } = options
    const manifest = Array.isArray(packages) ? { name, version: '1.0', packages } : packages
    await writeFile(join(this.folder, 'work/edge.json'), JSON.stringify(manifest))
    const progress: number[] = []
    const job = this.#job(criteria, options, percent => progress.push(percent))
    const worker = new AptWorker({ ...this.options, ...options.worker })
    const { resultCode, extendedResultCode, resultDetails } = await worker.run(verb, job, signal)
    return { code: resultCode, extended: ercText(extendedResultCode), details: resultDetails, progress }
  }

  /** Runs verbs until one fails; the last one's end. */
  async all(packages: readonly Fields[] | Fields, options: StepOptions = {}): Promise<Ended> {
    let ended: Ended | undefined
    for (const verb of ['download', 'install', 'apply'] as const) {
      ended = await this.run(verb, packages, options)
      if (ended.code <= 0) break
    }
    return ended as Ended
  }

  /** `name version` of each package that is wholly installed; others with their status. */
  async packages(): Promise<readonly string[]> {
    // biome-ignore lint/suspicious/noTemplateCurlyInString: a format of dpkg-query
    const format = '-f=${Package} ${Version} ${db:Status-Status}\\n'
    const { stdout } = await execa('dpkg-query', ['-W', format], { env: this.env, reject: false })
    return stdout
      .split('\n')
      .filter(Boolean)
      .map(line => line.replace(/ installed$/, ''))
  }

  async criteria(): Promise<readonly Fields[]> {
    return JSON.parse(await readFile(this.options.criteriaFile ?? '', 'utf8'))
  }

  /** What a power cut does to the programs: whatever session or group they went to, they have this root in their environment. */
  kill(): void {
    for (const pid of readdirSync('/proc').filter(name => /^\d+$/.test(name))) {
      try {
        if (readFileSync(`/proc/${pid}/environ`).includes(`APT_CONFIG=${this.#config}`))
          process.kill(Number(pid), 'SIGKILL')
      } catch {
        // It has ended meanwhile, or is not ours.
      }
    }
  }

  /** Starts a program with this root, and does not wait for it. */
  start(command: readonly [string, ...string[]]): Promise<Launched> {
    return this.launcher('/', LIMITS)(command, { signal: new AbortController().signal, writes: 'system' })
  }

  /** Resolves when a maintainer script has made the file. */
  async appears(file: string): Promise<void> {
    while (!existsSync(join(this.folder, file))) await new Promise(resolve => setTimeout(resolve, 20))
  }

  get #config(): string {
    return join(this.folder, 'etc/apt/apt.conf')
  }

  #job(installedCriteria: string, { settings = {}, timeout }: StepOptions, progress: Job['progress']): Job<AptWork> {
    const manifest = {
      fileId: 'f1',
      fileName: 'edge.json',
      sizeInBytes: 1,
      sha256: Buffer.alloc(32),
    } as Verified<FileEntity>
    const work = { is: 'apt', manifest } as const
    return {
      work,
      plan: { kind: 'work', installedCriteria, probe: [manifest], payload: [], work },
      handler: 'microsoft/apt:1',
      updateId: { provider: 'Contoso', name: 'Edge', version: '1.0' },
      folder: join(this.folder, 'work'),
      state: join(this.folder, 'work'),
      settings: { ...SETTINGS, packages: { ...SETTINGS.packages, lockSeconds: 60, ...settings } },
      progress,
      launch: (command, options) =>
        this.launcher('/', LIMITS)(command, { ...options, ...(timeout === undefined ? {} : { timeout }) }),
    }
  }

  /** Launches programs in this root, otherwise as the step service does. */
  get launcher(): Launcher {
    return (folder, limits) => {
      const launch = groupLauncher(folder, limits)
      return ([first, ...more], options) => {
        const [program = first, ...rest] = [...this.within, ...this.#prefix, first, ...more]
        const env = { ...options.env, ...this.env }
        const onLine = (line: string, from: 'stdout' | 'stderr'): void => {
          if (this.cut(line)) this.kill()
          options.onLine?.(line, from)
        }
        return launch([program, ...rest], { ...options, env, onLine })
      }
    }
  }

  async #end(): Promise<void> {
    this.kill()
    await rm(this.folder, { recursive: true, force: true })
  }
}

async function configuration(folder: string): Promise<string> {
  const architecture = await debianArchitecture()
  return [
    `Dir "${folder}";`,
    `Dir::State::status "${folder}/var/lib/dpkg/status";`,
    `Dir::Log "${folder}/var/log/apt";`,
    'Dir::Bin::dpkg "/usr/bin/dpkg";',
    'Dir::Bin::methods "/usr/lib/apt/methods";',
    `APT::Architecture "${architecture}";`,
    `APT::Architectures { "${architecture}"; };`,
    'APT::Sandbox::User "";',
    // A refusal of the server is final: the tests need not wait.
    'Acquire::Retries "0";',
    'Acquire::Languages "none";',
    `DPkg::Options { "--root=${folder}"; "--force-script-chrootless"; "--force-not-root"; "--force-unsafe-io"; "--log=${folder}/var/log/dpkg.log"; };`,
    '',
  ].join('\n')
}

const SETTINGS = settingsIn('{}', 'settings')
const LIMITS = { ...SETTINGS.limits, seconds: 120 }
