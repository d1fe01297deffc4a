import { once } from 'node:events'
import { existsSync, watch } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, test } from 'node:test'
import type { ImportedUpdate, UpdateDescription } from '../bench/authoring/manifest.ts'
import { type Bench, startBench } from '../bench/bench.ts'
import type { RootTree } from '../bench/workbench/root-tree.ts'
import type { BundleDescription } from '../bench/workbench/swu.ts'
import { Pi, type PiOptions } from './pi.ts'

export type { Pi, PiOptions }

export interface SystemOptions {
  /** Of the image; its version is the update's. */
  readonly tree?: Omit<RootTree, 'version'> & { readonly version?: string }
  readonly bundle?: Partial<BundleDescription>
  readonly update?: Partial<UpdateDescription>
}

/** A whole test may take this long, in milliseconds: many times what it needs, for a busy machine. */
const LIMIT = 120_000

export type Rig = Awaited<ReturnType<typeof startRig>>

/** One bench for the tests of one file, which run one after another, each with a device of its own. */
export async function startRig() {
  const stateDir = await mkdtemp(join(tmpdir(), 'e2e-'))
  const bench = await startBench({ stateDir })
  after(async () => {
    await bench.stop()
    await rm(stateDir, { recursive: true, force: true })
  })
  let devices = 0

  return {
    bench,

    /** A test with a new device, which is switched on unless told; what it logged is shown when the test fails. */
    test(name: string, options: PiOptions, body: (pi: Pi) => Promise<void>): void {
      test(name, { timeout: LIMIT }, async () => {
        devices += 1
        const pi = await Pi.make(bench, `pi${devices}`, options)
        try {
          if (options.on !== false) await pi.switchOn()
          await body(pi)
        } catch (error) {
          console.error(`--- ${name}\n${await pi.story()}`)
          throw error
        } finally {
          await pi.remove()
          bench.hub.faults.clear()
          for (const path of Object.keys(bench.content.faults)) delete bench.content.faults[path]
        }
      })
    },

    /** A bundle with a system of this version, imported: ready to be deployed. */
    system: (version: string, options: SystemOptions = {}): Promise<ImportedUpdate> => system(bench, version, options),

    /** The path of a file of `update` below the content server's folder. */
    contentPath: (update: ImportedUpdate): string => {
      const [file] = update.files
      return `${file!.fileId}/${file!.fileName}`
    },
  }
}

async function system(bench: Bench, version: string, { tree = {}, bundle = {}, update = {} }: SystemOptions) {
  const path = await bench.buildBundle({ tree: { version, ...tree }, ...bundle }, `system-${version}.swu`)
  return bench.importBundle(path, version, update)
}

/** Resolves when the file is there. */
export async function appears(path: string): Promise<void> {
  const limit = AbortSignal.timeout(LIMIT)
  const changed = watch(dirname(path), { signal: limit })
  try {
    while (!existsSync(path)) await once(changed, 'change', { signal: limit })
  } finally {
    changed.close()
  }
}
