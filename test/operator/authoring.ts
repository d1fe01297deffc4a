import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { openBundleSigner } from '../bench/workbench/bundle-key.ts'
import { buildImage } from '../bench/workbench/image.ts'
import { swupdateProgram } from '../bench/workbench/program.ts'
import { operator } from './support.ts'

/** For a test file that makes bundles: a folder that goes with it, with a signer, and an image of a system. */
export const dir = await mkdtemp(join(tmpdir(), 'authoring-'))
after(() => rm(dir, { recursive: true }))
export const at = (name: string): string => join(dir, name)
export const signer = await openBundleSigner(dir)
export const image = at('rootfs.ext4')
await buildImage(image, { version: '2.0.0' })

export const create = (name: string, ...args: string[]) =>
  operator(['bundle', 'create', '--out', at(name), '--update-version', '2.0.0', ...args])
export const usual = () => ['--hardware', 'pi:1.0', '--cert', signer.certificate, '--key', signer.key]

export async function shown(file: string, ...args: string[]) {
  const { exitCode, stdout, stderr } = await operator(['bundle', 'show', at(file), '--json', ...args])
  assert.equal(stderr, '')
  return { exitCode, ...JSON.parse(stdout) }
}

/** What SWUpdate prints; `SWUPDATE successful !` is in it, or not. */
export async function swupdate(
  file: string,
  slot: string,
  more: readonly string[],
  root = signer.certificate,
): Promise<string> {
  const home = await mkdtemp(at('run-'))
  const [program, ...choice] = await swupdateProgram()
  const args = [...choice, '-M', '-m', '-k', root, '-e', `stable,${slot}`, '-i', at(file), '-H', 'pi:1.0', ...more]
  const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin`, TMPDIR: home, RUNTIME_DIRECTORY: home }
  const said = await new Promise<string>(resolve => {
    execFile(program, args, { cwd: dir, env, timeout: 60_000 }, (_, stdout, stderr) => resolve(`${stdout}${stderr}`))
  })
  // Others on this machine have all the names that it binds for itself.
  return said.includes('Error binding notifier socket') ? swupdate(file, slot, more, root) : said
}
