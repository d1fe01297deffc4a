import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ImportedUpdate } from '../bench/authoring/manifest.ts'
import { type Bench, startBench } from '../bench/bench.ts'
import { BOOT_MS, Guest, type GuestOptions, PI_UPDATE, urlsForGuest } from '../bench/qemu/guest.ts'
import { type BuildOptions, buildSystem, bundleOf, type Changes, type System } from '../bench/qemu/system.ts'

/** Install, up to four boots, and a watchdog's patience for each try. */
export const UPDATE_MS = 1_800_000

/** What the agent reports of a deployment. */
export interface Report {
  readonly state: number
  readonly workflow?: { readonly id: string }
  readonly installedUpdateId?: string
  readonly lastInstallResult?: {
    readonly resultCode: number
    readonly extendedResultCodes: string
    readonly resultDetails: string
  }
}

/** A bench, the image, and one device that runs it. */
export class Fleet {
  readonly dir: string
  readonly bench: Bench
  readonly system: System
  /** Of the device. */
  readonly id: string

  private constructor(dir: string, bench: Bench, system: System, id: string) {
    this.dir = dir
    this.bench = bench
    this.system = system
    this.id = id
  }

  /** `layers` makes the folders of layers for the image, below the folder it is given. */
  static async make(
    layers: (dir: string) => Promise<readonly string[]> = async () => [],
    { id = 'pi1', ...options }: Pick<BuildOptions, 'next'> & { readonly id?: string } = {},
  ): Promise<Fleet> {
    const dir = await mkdtemp(join(tmpdir(), 'qemu-'))
    const bench = await startBench({ stateDir: join(dir, 'bench') })
    return new Fleet(dir, bench, await buildSystem(dir, { ...options, layers: await layers(dir) }), id)
  }

  async end(): Promise<void> {
    await this.bench.stop()
    await rm(this.dir, { recursive: true, force: true })
  }

  flash(more: Partial<GuestOptions> = {}): Promise<Guest> {
    const { bench, system, dir, id } = this
    return Guest.flash({ id, bench, system: system.dir, image: system.image, dir: join(dir, 'guest'), ...more })
  }

  /** A system of this version, signed and imported; `criteria` is what the deployment says it will be. */
  async author(version: string, changes: Changes = {}, criteria = version): Promise<ImportedUpdate> {
    const bundle = await bundleOf(this.system, join(this.dir, 'bundles'), version, changes)
    return this.import(bundle, version, criteria)
  }

  import(bundle: string, version: string, criteria = version): Promise<ImportedUpdate> {
    const swuFileName = bundle.slice(bundle.lastIndexOf('/') + 1)
    return this.bench.importBundle(bundle, version, {
      ...PI_UPDATE,
      steps: [
        {
          handler: 'microsoft/swupdate:2',
          files: [bundle],
          handlerProperties: { installedCriteria: criteria, swuFileName },
        },
      ],
    })
  }

  /** Returns the workflow id. */
  deploy(update: ImportedUpdate): string {
    return this.bench.deploy(this.id, update, { fileUrls: urlsForGuest(this.bench, update) })
  }

  get report(): Report | undefined {
    return (this.bench.hub.getTwin(this.id).properties.reported.deviceUpdate as { agent?: Report } | undefined)?.agent
  }

  /** How the deployment ended, waited for. */
  async ended(workflowId: string, timeoutMs = UPDATE_MS): Promise<Report> {
    const final = (): boolean => {
      const { report } = this
      return report?.workflow?.id === workflowId && report.state !== 6 && report.lastInstallResult !== undefined
    }
    await this.bench.hub.waitForReported(this.id, final, { timeoutMs, what: `the end of ${workflowId}` })
    return this.report as Report
  }

  connected(timeoutMs = BOOT_MS): Promise<unknown> {
    return this.bench.hub.waitForConnected(this.id, { timeoutMs })
  }
}
