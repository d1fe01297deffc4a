import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { openBundleSigner } from '../bench/workbench/bundle-key.ts'
import { cutShort } from '../bench/workbench/swu.ts'
import { startRig } from './rig.ts'

/** Bundles that are what the manifest says, and are refused all the same: by SWUpdate, or before it sees them. */

const rig = await startRig()
const { bench } = rig
const stranger = await openBundleSigner(join(bench.contentDir, '../other-keys'), 'stranger')
const description = { tree: { version: '2.0.0' } }

async function cut(bytes: number): Promise<string> {
  const path = await bench.buildBundle(description)
  await cutShort(path, bytes)
  return path
}

/** Its name is cut, whatever padding follows. */
async function cutInTrailer(): Promise<string> {
  const path = await bench.buildBundle(description)
  const bytes = await readFile(path)
  await cutShort(path, bytes.length - bytes.lastIndexOf('TRAILER!!!') - 4)
  return path
}

const SWUPDATE = /^301010[0-9A-F]{2}$/

const cases: { name: string; path: () => Promise<string>; code: RegExp; details: RegExp }[] = [
  {
    name: 'signed by somebody else',
    path: () => bench.buildBundle(description, 'x.swu', stranger),
    code: SWUPDATE,
    details: /^swupdate failed: .*signatures failed/,
  },
  {
    name: 'for other hardware',
    path: () => bench.buildBundle({ ...description, hardware: 'pi-workbench:9.9' }),
    code: SWUPDATE,
    details: /^swupdate failed: .*not compatible with hardware/,
  },
  {
    name: 'without the selection of this slot',
    path: () => bench.buildBundle({ ...description, slots: ['a'] }),
    code: /^32100025$/,
    details: /sw-description has nothing for the selection stable,b/,
  },
  { name: 'cut within the image', path: () => cut(1 << 20), code: /^32100020$/, details: /ends early, at byte/ },
  { name: 'cut within the trailer', path: cutInTrailer, code: /^32100020$/, details: /ends early, at byte/ },
]

for (const { name, path, code, details } of cases) {
  rig.test(`bundle: ${name}`, {}, async pi => {
    const update = await bench.importBundle(await path(), '2.0.0')
    const report = await pi.settled(pi.deploy(update))
    const { resultCode, extendedResultCodes, resultDetails } = report.lastInstallResult
    assert.equal(resultCode, 0, resultDetails ?? '')
    assert.match(extendedResultCodes, code, resultDetails ?? '')
    assert.match(resultDetails ?? '', details)
    assert.equal(await pi.power.bootCount(), 1)
    await pi.expectResult(pi.deploy(await rig.system('2.0.0')), { resultCode: 700, version: '2.0.0' })
  })
}

const key = randomBytes(32)
const keyFile = join(bench.contentDir, '../aes.key')
await writeFile(keyFile, `${key.toString('hex')} ${randomBytes(16).toString('hex')}\n`, { mode: 0o600 })
const encrypted = () => rig.system('2.0.0', { bundle: { key, zstd: 3 } })

rig.test('bundle: encrypted, on a device that has the key', { piAdu: { swupdate: { keyFile } } }, async pi => {
  await pi.expectResult(pi.deploy(await encrypted()), { resultCode: 700, version: '2.0.0' })
})

rig.test('bundle: encrypted, on a device that has no key', {}, async pi => {
  const { resultCode, extendedResultCodes, resultDetails } = (await pi.settled(pi.deploy(await encrypted())))
    .lastInstallResult
  assert.equal(resultCode, 0)
  assert.match(extendedResultCodes, SWUPDATE)
  assert.match(resultDetails ?? '', /is encrypted, and this device has no key for it: set piAdu\.swupdate\.keyFile/)
})
