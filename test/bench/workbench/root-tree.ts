import { createCipheriv, createHash } from 'node:crypto'
import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { HANGING_INIT, INIT, PANICKING_INIT } from './init-scripts.ts'

/** A root file system of the workbench; everything else in it follows from these. */
export interface RootTree {
  /** Content of `/etc/adu-version`. */
  readonly version: string
  /** `panics`: exits at once, as a kernel panic looks from outside. `hangs`: starts nothing. `missing`: no /sbin/init. */
  readonly init?: 'normal' | 'panics' | 'hangs' | 'missing'
  /** The owner's health checks: name → shell script. */
  readonly healthChecks?: Readonly<Record<string, string>>
  /** Size of a file of pseudo-random bytes, so that images of two versions differ and do not compress. */
  readonly payloadBytes?: number
  /** Seed of the pseudo-random bytes. Default: the version. */
  readonly seed?: string
  /** More files: path → content. */
  readonly files?: Readonly<Record<string, string>>
}

/** The board and revision that bundles for the workbench are for. */
export const HARDWARE = 'pi-workbench:1.0'

/** The health check that never passes. */
export const FAILING_CHECK = '#!/bin/sh\necho "this check never passes" >&2\nexit 1\n'

const DEFAULT_PAYLOAD_BYTES = 1 << 20

const inits = { normal: INIT, panics: PANICKING_INIT, hangs: HANGING_INIT }

/** Writes the tree into the empty folder `dir`. */
export async function writeRootTree(dir: string, tree: RootTree): Promise<void> {
  const { init = 'normal', payloadBytes = DEFAULT_PAYLOAD_BYTES, seed = tree.version } = tree
  const [board, revision] = HARDWARE.split(':')
  await writeInto(dir, 'etc/adu-version', `${tree.version}\n`)
  await writeInto(dir, 'etc/os-release', `ID=pi-workbench\nNAME="Pi workbench"\nVERSION_ID="${tree.version}"\n`)
  await writeInto(dir, 'etc/hwrevision', `${board} ${revision}\n`)
  await mkdir(join(dir, 'etc/pi-adu/health.d'), { recursive: true })
  if (init !== 'missing') await writeInto(dir, 'sbin/init', inits[init], 0o755)
  for (const [name, script] of Object.entries(tree.healthChecks ?? {})) {
    await writeInto(dir, `etc/pi-adu/health.d/${name}`, script, 0o755)
  }
  for (const [path, content] of Object.entries(tree.files ?? {})) await writeInto(dir, path, content)
  await writeInto(dir, 'usr/share/payload', pseudoRandom(payloadBytes, seed))
}

/** The same bytes for the same seed. */
export function pseudoRandom(bytes: number, seed: string): Buffer {
  const key = createHash('sha256').update(seed).digest()
  return createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(bytes))
}

async function writeInto(dir: string, path: string, content: string | Buffer, mode = 0o644): Promise<void> {
  const target = join(dir, path)
  await mkdir(dirname(target), { recursive: true })
  await writeFile(target, content)
  await chmod(target, mode)
}
