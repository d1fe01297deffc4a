import assert from 'node:assert/strict'
import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { rootKeyPackage } from '../bench/authoring/root-key-package.ts'
import type { Fault } from '../bench/content/faults.ts'
import { type Pi, startRig } from './rig.ts'

/** A content server that wants to fill memory and disk, or to keep the device busy for ever. What may go wrong by chance stands in content.test.ts. */

const rig = await startRig()
const { content, contentDir, authority } = rig.bench
const two = await rig.system('2.0.0')
const three = await rig.system('3.0.0')
const bundle = rig.contentPath(two)
const mini = await rig.bench.detachManifest(two)
const detached = `${mini.files.at(-1)?.fileId}/${mini.files.at(-1)?.fileName}`
const packageUrl = await rig.bench.publishRootKeyPackage(rootKeyPackage([authority.rootKey]), 'package.json')
const packagePath = 'rootkeypackages/package.json'

/** In bytes; what the agent may grow by in the worst case, and what it may write. */
const GROWTH = 48 << 20
const WRITTEN = 1 << 20

/** The most memory that the agent has had so far. */
async function peak(pi: Pi): Promise<number> {
  const status = await readFile(`/proc/${await pi.events.pid()}/status`, 'utf8')
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024
}

/** What lies in the device's data and temporary folders. */
async function onDisk(pi: Pi): Promise<number> {
  const folders = [pi.folder.data, pi.folder.temporary]
  const names = await Promise.all(
    folders.map(async dir => (await readdir(dir, { recursive: true }).catch(() => [])).map(name => join(dir, name))),
  )
  const sizes = names.flat().map(async file => (await stat(file).catch(() => ({ size: 0 }))).size)
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0)
}

/** 64 MB of nothing, in 64 kB. */
const BOMB = gzipSync(Buffer.alloc(64 << 20))

async function asBomb(path: string): Promise<() => Promise<void>> {
  const file = join(contentDir, path)
  const before = await readFile(file)
  await writeFile(file, BOMB)
  content.faults[path] = { encoding: 'gzip', noRanges: true }
  return async () => {
    delete content.faults[path]
    await writeFile(file, before)
  }
}

const faulty = (path: string, fault: Fault) => async () => {
  content.faults[path] = fault
  return async () => {
    delete content.faults[path]
  }
}

const attacks = [
  { name: 'a bundle that is a gzip bomb', prepare: () => asBomb(bundle), code: '40000005' },
  { name: 'a package that is a gzip bomb', prepare: () => asBomb(packagePath), code: 'A0100005' },
  { name: 'a detached manifest that is a gzip bomb', prepare: () => asBomb(detached), code: '40000005' },
  {
    name: 'an endless package',
    prepare: faulty(packagePath, { extraBytes: 'endless', noRanges: true }),
    code: 'A0000001',
  },
  {
    name: 'an endless detached manifest',
    prepare: faulty(detached, { extraBytes: 'endless', noRanges: true }),
    code: '32100003',
  },
  {
    name: 'an endless bundle',
    prepare: faulty(bundle, { extraBytes: 'endless', noRanges: true }),
    code: '32100003',
  },
  {
    name: 'a bundle whose ranges come from somewhere else',
    prepare: faulty(bundle, { wrongRange: 'shifted' }),
    // Its first byte tells what the hash would tell at the last.
    code: '32100020',
  },
  {
    name: 'a detached manifest that changes while it is fetched',
    prepare: faulty(detached, { cutAfter: 100, etag: 'changing', flipByteAt: 150 }),
    // Another tag proves nothing: the hash does.
    code: '4000000C',
  },
  {
    name: 'a package that leads to a file',
    prepare: faulty(packagePath, { redirect: 'file:///dev/zero' }),
    code: 'A0100005',
  },
]

rig.test('each attack ends in its result; memory and disk stay flat; then all is well', {}, async pi => {
  await pi.ready()
  // What an ordinary deployment needs is no growth.
  assert.equal((await pi.settled(pi.deploy(two))).lastInstallResult.resultCode, 700)
  assert.equal((await pi.settled(pi.deploy(three))).lastInstallResult.resultCode, 700)
  const [memory, disk] = [await peak(pi), await onDisk(pi)]
  for (const { name, prepare, code } of attacks) {
    const restore = await prepare()
    const id = name.includes('package')
      ? pi.deploy(two, { rootKeyPackageUrl: packageUrl })
      : pi.deploy(name.includes('detached') ? mini : two)
    const { lastInstallResult } = await pi.settled(id)
    await restore()
    assert.equal(lastInstallResult.resultCode, 0, name)
    assert.equal(lastInstallResult.extendedResultCodes, code, `${name}: ${lastInstallResult.resultDetails}`)
  }
  assert.equal(await pi.version(), '3.0.0')
  const grown = (await peak(pi)) - memory
  assert.ok(grown < GROWTH, `the agent grew by ${grown >> 20} MB`)
  const written = (await onDisk(pi)) - disk
  assert.ok(written < WRITTEN, `${written} bytes were left on the disk`)
  const { lastInstallResult } = await pi.settled(pi.deploy(mini, { rootKeyPackageUrl: packageUrl }))
  assert.equal(lastInstallResult.resultCode, 700)
})

/** Six seconds for a file. */
const shortTime = (config: Record<string, unknown>) => Object.assign(config, { downloadTimeoutInMinutes: 0.1 })

rig.test('a bundle that comes drop by drop is given up in time', { configure: shortTime }, async pi => {
  content.faults[bundle] = { bytesPerSecond: 2000 }
  const { lastInstallResult } = await pi.settled(pi.deploy(two))
  delete content.faults[bundle]
  assert.equal(lastInstallResult.extendedResultCodes, '32100006', lastInstallResult.resultDetails ?? '')
  assert.equal(await pi.version(), '1.0.0')
})
