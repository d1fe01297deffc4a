import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { type BundleSigner, openBundleSigner } from '../bench/workbench/bundle-key.ts'
import { buildImage, extractImage, readFromImage } from '../bench/workbench/image.ts'
import { runProgram, swupdateProgram } from '../bench/workbench/program.ts'
import { FAILING_CHECK, HARDWARE } from '../bench/workbench/root-tree.ts'
import { buildBundle, cutShort } from '../bench/workbench/swu.ts'

let dir: string
let device: string
let signer: BundleSigner
const bundle = () => join(dir, 'update.swu')
const slot = (name: string) => join(device, `pi-adu/${name}`)

before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'bundle-'))
  device = join(dir, 'device')
  signer = await openBundleSigner(join(dir, 'state'))
  for (const name of ['pi-adu', 'tmp', 'boot']) await mkdir(join(device, name), { recursive: true })
  for (const name of ['a', 'b']) await writeFile(slot(name), '').then(() => truncate(slot(name), 4 << 20))
})
after(() => rm(dir, { recursive: true }))

/** With the device's folder as its own, from a FIFO. */
async function install(selection: string, { hardware = HARDWARE, args = ['-M', '-m'] } = {}): Promise<void> {
  await runProgram(
    [
      ...([
        'sh',
        '-c',
        'rm -f fifo; mkfifo fifo; cat "$0" > fifo & exec "$@" -i fifo',
        bundle(),
        ...(await swupdateProgram()),
        '-v',
      ] as const),
      ...[...args, '-H', hardware, '-e', `stable,${selection}`, '-k', signer.certificate],
    ],
    { cwd: device, env: { TMPDIR: join(device, 'tmp') } },
  )
}

test('one bundle installs into either slot', async () => {
  await buildBundle(bundle(), { tree: { version: '2.0.0' } }, signer)
  await install('b')
  assert.equal(await readFromImage(slot('b'), '/etc/adu-version'), '2.0.0\n')
  assert.equal(await readFromImage(slot('a'), '/etc/adu-version'), undefined)
  await install('a')
  assert.equal(Buffer.compare(await readFile(slot('a')), await readFile(slot('b'))), 0)
})

test('the same description gives the same image, another seed another one', async () => {
  const build = async (seed: string) => {
    await buildImage(join(dir, 'image'), { version: '1.0.0', seed })
    return readFile(join(dir, 'image'))
  }
  const one = await build('one')
  await new Promise(resolve => setTimeout(resolve, 1100))
  assert.equal(Buffer.compare(one, await build('one')), 0)
  assert.notEqual(Buffer.compare(one, await build('two')), 0)
})

test('an 8 MB bundle is built while a test waits for it', async () => {
  const started = Date.now()
  await buildBundle(bundle(), { tree: { version: '2.0.0', payloadBytes: 6 << 20 }, imageBytes: 8 << 20 }, signer)
  const took = Date.now() - started
  assert.ok((await stat(bundle())).size > 8 << 20)
  // A fifth of a second on an idle machine; tests run on busy ones.
  assert.ok(took < 10_000, `${took} ms`)
})

test('a stranger’s bundle is refused and writes nothing', async () => {
  const before = await readFile(slot('b'))
  await buildBundle(bundle(), { tree: { version: '6.6.6' } }, await openBundleSigner(join(dir, 'state'), 'stranger'))
  await assert.rejects(install('b'), /[Ss]ignature|image invalid|failed/)
  assert.equal(Buffer.compare(await readFile(slot('b')), before), 0)
})

test('a bundle that is cut short fails', async () => {
  await buildBundle(bundle(), { tree: { version: '3.0.0' } }, signer)
  await cutShort(bundle(), 512)
  await assert.rejects(install('b'))
})

test('a bundle for other hardware is refused', async () => {
  await buildBundle(bundle(), { tree: { version: '3.0.0' }, hardware: 'pi-workbench:9.9' }, signer)
  await assert.rejects(install('b'))
})

test('the bundle may promise another version than its image has', async () => {
  await buildBundle(bundle(), { tree: { version: '3.0.0' }, version: '4.0.0' }, signer)
  assert.match((await readFile(bundle())).toString('latin1', 0, 400), /version = "4\.0\.0"/)
  await install('b')
  assert.equal(await readFromImage(slot('b'), '/etc/adu-version'), '3.0.0\n')
})

test('the bundle may try to set bootloader variables', async () => {
  await buildBundle(bundle(), { tree: { version: '3.0.0' }, bootEnv: { primary: 'b', evil: 'yes' } }, signer)
  await install('b')
  assert.match(
    (await readFile(bundle())).toString('latin1', 0, 1500),
    /bootenv: \( \{ name = "primary"; value = "b"; \}/,
  )
})

test('what is in the tree is in the image, with its modes', async () => {
  const tree = { version: '5.0.0', healthChecks: { '10-never': FAILING_CHECK }, files: { 'etc/motd': 'hello\n' } }
  await buildImage(join(dir, 'image'), tree)
  assert.equal(await extractImage(join(dir, 'image'), join(dir, 'root')), true)
  assert.equal(await readFile(join(dir, 'root/etc/motd'), 'utf8'), 'hello\n')
  assert.equal(await readFile(join(dir, 'root/etc/hwrevision'), 'utf8'), 'pi-workbench 1.0\n')
  assert.equal((await stat(join(dir, 'root/sbin/init'))).mode & 0o777, 0o755)
  await assert.rejects(runProgram([join(dir, 'root/etc/pi-adu/health.d/10-never')]), /never passes/)
})

test('an image without init, and no image at all', async () => {
  await buildImage(join(dir, 'image'), { version: '5.0.0', init: 'missing' })
  assert.equal(await extractImage(join(dir, 'image'), join(dir, 'root')), true)
  await assert.rejects(stat(join(dir, 'root/sbin/init')))
  await writeFile(join(dir, 'image'), Buffer.alloc(1 << 20))
  assert.equal(await extractImage(join(dir, 'image'), join(dir, 'root')), false)
  assert.equal(await readFromImage(join(dir, 'image'), '/etc/adu-version'), undefined)
})
