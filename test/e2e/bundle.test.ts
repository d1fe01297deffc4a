import assert from 'node:assert/strict'
import { join } from 'node:path'
import { openBundleSigner } from '../bench/workbench/bundle-key.ts'
import { cutShort } from '../bench/workbench/swu.ts'
import { startRig } from './rig.ts'

/** Bundles that are what the manifest says, and that SWUpdate refuses all the same. */

const rig = await startRig()
const { bench } = rig
const stranger = await openBundleSigner(join(bench.contentDir, '../other-keys'), 'stranger')
const description = { tree: { version: '2.0.0' } }

async function cut(bytes: number): Promise<string> {
  const path = await bench.buildBundle(description)
  await cutShort(path, bytes)
  return path
}

const cases: { name: string; path: () => Promise<string>; details: RegExp }[] = [
  {
    name: 'signed by somebody else',
    path: () => bench.buildBundle(description, 'x.swu', stranger),
    details: /signatures failed/,
  },
  {
    name: 'for other hardware',
    path: () => bench.buildBundle({ ...description, hardware: 'pi-workbench:9.9' }),
    details: /not compatible with hardware/,
  },
  {
    name: 'without the selection of this slot',
    path: () => bench.buildBundle({ ...description, slots: ['a'] }),
    details: /sw-description has nothing for the selection stable,b/,
  },
  { name: 'cut within the image', path: () => cut(1 << 20), details: /HASH mismatch/ },
  { name: 'cut within the trailer', path: () => cut(200), details: /./ },
]

for (const { name, path, details } of cases) {
  rig.test(`bundle: ${name}`, {}, async pi => {
    const update = await bench.importBundle(await path(), '2.0.0')
    const report = await pi.settled(pi.deploy(update))
    const { resultCode, extendedResultCodes, resultDetails } = report.lastInstallResult
    assert.equal(resultCode, 0, resultDetails ?? '')
    assert.match(extendedResultCodes, /^301010[0-9A-F]{2}$/, resultDetails ?? '')
    assert.match(resultDetails ?? '', /^swupdate failed: /)
    assert.match(resultDetails ?? '', details)
    assert.equal(await pi.power.bootCount(), 1)
    await pi.expectResult(pi.deploy(await rig.system('2.0.0')), { resultCode: 700, version: '2.0.0' })
  })
}
