import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { Swupdate } from '../../src/adapters/swupdate/swupdate.ts'
import type { Allowance } from '../../src/bundle/allowance.ts'
import type { FileEntity, Verified } from '../../src/domain/deployment.ts'
import type { AgentError } from '../../src/domain/errors.ts'
import { EXTENDED_RESULT_CODE } from '../../src/domain/result-codes.ts'
import { withholdEnd } from '../../src/trust/withheld-end.ts'
import { openBundleSigner } from '../bench/workbench/bundle-key.ts'
import { programEnvironment, runProgram, swupdateProgram } from '../bench/workbench/program.ts'
import { HARDWARE, pseudoRandom } from '../bench/workbench/root-tree.ts'
import { hashOf, pieces } from './archive.ts'
import type { Entry } from './effects.ts'

process.env.PATH = programEnvironment.PATH

const dir = await mkdtemp(join(tmpdir(), 'effects-'))
after(() => rm(dir, { recursive: true }))
const at = (name: string): string => join(dir, name)
const [folder, temporary, sources] = [at('world'), at('tmp'), at('sources')]
const placed = (name: string): string => join(folder, name)

/** What is in each slot before an installation. */
const SLOT = Buffer.alloc(300_000, 1)

/** The files that a bundle may have. */
export const FILES = {
  image: pseudoRandom(SLOT.length, 'effects'),
  small: Buffer.alloc(5_000, 2),
  script: Buffer.from(`#!/bin/sh\ntouch ${placed('mark')}\n`),
} as const

export const SELECTION = { a: 'stable,a', b: 'stable,b' }

/** What can be left behind. */
export const DANGER = {
  mark: 'something else written or run',
  other: 'another device written',
  running: 'the running slot written',
  whole: 'the whole image in the slot',
}

/** A device in a folder, where every effect of an installation into slot b is seen. One at a time. */
export async function makeWorld() {
  const signer = await openBundleSigner(at('keys'))
  await mkdir(sources)
  for (const [name, content] of Object.entries(FILES)) await writeFile(join(sources, name), content)
  const entry: Entry = (name, settings) => `{ filename = "${name}"; sha256 = "${hashOf(FILES[name])}"; ${settings} }`

  /** As before each installation. */
  async function freshWorld(): Promise<void> {
    for (const each of [folder, temporary]) {
      await rm(each, { recursive: true, force: true })
      await mkdir(each)
    }
    for (const [name, content] of Object.entries({ a: SLOT, b: SLOT, other: Buffer.alloc(10_000) })) {
      await writeFile(placed(name), content)
    }
  }

  /** What an installation left behind. */
  async function effects(): Promise<string[]> {
    const found: string[] = []
    const slot = await readFile(placed('b'))
    if (slot.equals(FILES.image)) found.push(DANGER.whole)
    else if (!slot.equals(SLOT)) found.push('a part of the image in the slot')
    if (!(await readFile(placed('a'))).equals(SLOT)) found.push(DANGER.running)
    if (!(await readFile(placed('other'))).equals(Buffer.alloc(10_000))) found.push(DANGER.other)
    const more = (await readdir(folder)).filter(name => !['a', 'b', 'other'].includes(name))
    if (more.length > 0) found.push(DANGER.mark)
    assert.deepEqual(await readdir(temporary), [], 'something stays in the temporary folder')
    return found
  }

  /** SWUpdate, called by hand with the same selection. */
  async function alone(bundle: Buffer): Promise<string[]> {
    await freshWorld()
    const own = join(temporary, 'swupdate')
    await mkdir(join(own, 'pi-adu'), { recursive: true })
    await symlink(placed('b'), join(own, 'pi-adu/b'))
    await writeFile(join(own, 'bundle.swu'), bundle)
    const words = ['-i', 'bundle.swu', '-M', '-m', '-k', signer.certificate, '-e', SELECTION.b, '-H', HARDWARE]
    const env = { TMPDIR: '.', RUNTIME_DIRECTORY: '.' }
    // Whether it succeeds in the end does not matter: its effects do.
    await runProgram([...(await swupdateProgram()), ...words], { cwd: own, env }).catch(() => {})
    await rm(own, { recursive: true })
    return effects()
  }

  /** Through the agent's withheld end and installer. Returns the error, and what it left behind. */
  async function throughAgent(
    bundle: Buffer,
    { sha256, compare, allow }: { sha256: Buffer; compare: boolean; allow: readonly Allowance[] },
  ) {
    await freshWorld()
    const swupdate = new Swupdate(
      {
        ...{ certificate: signer.certificate, hardware: HARDWARE, selection: SELECTION, compare, allow },
        device: { a: placed('a'), b: placed('b') },
        keyFile: undefined,
        stall: 60_000,
        writable: [],
        // Without other walls: the guard alone is looked at.
        confine: argv => argv,
      },
      { debug() {}, info() {}, warn() {}, error() {} },
    )
    const entity: FileEntity = { fileId: 'f', fileName: 'bundle.swu', sizeInBytes: bundle.length, sha256 }
    const before = process.env.TMPDIR
    process.env.TMPDIR = temporary
    try {
      await swupdate.install(
        withholdEnd(pieces(bundle, 50_000), entity as Verified<FileEntity>),
        'b',
        AbortSignal.timeout(60_000),
      )
      return { code: undefined, message: '', left: await effects() }
    } catch (error) {
      const { code, message } = error as AgentError
      assert.ok(code in EXTENDED_RESULT_CODE, String(error))
      return { code, message, left: await effects() }
    } finally {
      if (before === undefined) delete process.env.TMPDIR
      else process.env.TMPDIR = before
    }
  }

  const world = { mark: placed('mark'), other: placed('other'), running: placed('a'), device: placed('b') }
  return { at, placed, sources, temporary, signer, entry, world, alone, throughAgent }
}
