import assert from 'node:assert/strict'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Verb } from '../../../src/ports/steps.ts'
import { AptWorker } from '../../../src/steps/apt/worker.ts'
import { aService, type Bench, SETTINGS, type Update } from '../support.ts'
import type { Fields } from './root.ts'
import { World, waits } from './world.ts'

const world = new World(
  { name: 'tool', version: '1.0' },
  { name: 'tool', version: '2.0' },
  { name: 'slow', version: '1.0', scripts: { postinst: waits('slow') } },
)

/** An update with one step that installs these packages. */
const update = (version: string, ...packages: readonly Fields[]): Update => ({
  version,
  handler: 'microsoft/apt:1',
  files: { 'edge.json': JSON.stringify({ name: 'edge', version, packages }) },
  properties: { installedCriteria: `edge-${version}` },
})

async function verbs(bench: Bench, given: Update, ...list: readonly Verb[]): Promise<readonly string[]> {
  const ends: string[] = []
  for (const verb of list) {
    const answer = await bench.run(await bench.order(given, { verb }))
    ends.push(typeof answer === 'string' ? answer : `${answer.resultCode} ${answer.resultDetails}`.trim())
  }
  return ends
}

const ALL = ['isInstalled', 'download', 'install', 'apply', 'isInstalled'] as const

world.test(
  'a signed step through the step service: installed once, downgraded only by its settings, and not at all when off',
  async (root, t) => {
    const workers = { apt: new AptWorker(root.options) }
    const bench = await aService(t, { workers, launcher: root.launcher })
    const second = update('2.0.0', { name: 'tool', version: '2.0' })
    const ends = await verbs(bench, second, ...ALL)
    assert.deepEqual(
      ends.map(each => each.split(' ')[0]),
      ['901', '500', '600', '700', '900'],
      ends.join('\n'),
    )
    assert.deepEqual(await root.packages(), ['tool 2.0'])

    // The same order runs once: its package, removed meanwhile, does not come back.
    const order = await bench.order(second, { verb: 'install' })
    const first = await bench.run(order)
    await root.start(['apt-get', '-y', 'remove', 'tool'])
    assert.deepEqual(await bench.run(order), first)
    assert.deepEqual(await root.packages(), [])
    assert.deepEqual(await verbs(bench, second, 'isInstalled'), ['901 tool is not installed'])
    await verbs(bench, second, 'install')

    const third = update('3.0.0', { name: 'tool', version: '1.0' })
    const [refused = ''] = await verbs(bench, third, 'download')
    assert.match(
      refused,
      /^0 apt-get install, before the download: tool would be downgraded; packages\.allowDowngrade in .* allows that; it said: /,
    )
    const settings = (packages: Fields) => writeFile(bench.settings, JSON.stringify({ ...SETTINGS, packages }))
    await settings({ allowDowngrade: true })
    assert.match((await verbs(bench, third, 'download', 'install', 'apply')).join(), /^500,600 .*,700$/)
    assert.deepEqual(await root.packages(), ['tool 1.0'])

    await settings({ run: 'off' })
    const [off = ''] = await verbs(bench, update('4.0.0', { name: 'tool' }), 'download')
    assert.match(
      off,
      /^30000003 STEP_REFUSED: this device installs no single packages, because "packages": \{"run": "off"\} is in /,
    )
  },
)

world.test(
  'a power cut in the middle of an order: the same order is carried out again, and completes it',
  async (root, t) => {
    const bench = await aService(t, { workers: { apt: new AptWorker(root.options) }, launcher: root.launcher })
    const given = update('1.0.0', { name: 'slow' })
    await verbs(bench, given, 'download')
    const order = await bench.order(given, { verb: 'install' })
    const cut = bench.run(order)
    await root.appears('tmp/slow')
    // What the disk has at this moment is all that is left of the order.
    const [record = ''] = (await readdir(bench.state, { recursive: true })).filter(name =>
      name.endsWith(`${order.id}.json`),
    )
    const begun = await readFile(join(bench.state, record))
    root.kill()
    await cut
    await writeFile(join(bench.state, record), begun)
    await bench.restart()
    await writeFile(join(root.folder, 'tmp/go'), '')
    assert.deepEqual(await root.packages(), ['slow 1.0 half-configured'])
    const again = await bench.run(order)
    assert.equal(typeof again === 'string' ? again : again.resultCode, 600)
    assert.deepEqual(await root.packages(), ['slow 1.0'])
  },
)
