import assert from 'node:assert/strict'
import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Root } from './root.ts'
import { World } from './world.ts'

const world = new World(
  ...['1.0', '2.0', '3:1.0-1~rc1'].map(version => ({ name: 'tool', version })),
  { name: 'addon', version: '1.0', control: ['Depends: tool'] },
  { name: 'rival', version: '1.0', control: ['Conflicts: tool'] },
  { name: 'dotted.name', version: '1.0' },
)

const cacheOf = async ({ options }: Root): Promise<readonly string[]> =>
  (await readdir(options.archives as string)).filter(name => name.endsWith('.deb')).sort()

const tool = (version?: string) => (version === undefined ? { name: 'tool' } : { name: 'tool', version })

world.test(
  'an exact version, its dependencies, and the newest one without a version; then it is installed',
  async root => {
    const list = [tool('1.0'), { name: 'addon' }]
    assert.equal((await root.run('isInstalled', list)).code, 901)
    assert.match((await root.run('apply', list)).details, /tool is not installed; addon is not installed$/)
    await writeFile(join(root.options.archives as string, 'other.deb'), '')
    await writeFile(join(root.options.archives as string, 'other.deb'), '')
    const download = await root.run('download', list)
    assert.deepEqual([download.code, download.extended, download.details], [500, '00000000', ''])
    assert.deepEqual(await root.packages(), [])
    const install = await root.run('install', list)
    assert.equal(install.code, 600, install.details)
    assert.match(install.details, /^0 upgraded, 2 newly installed/)
    assert.deepEqual(await root.packages(), ['addon 1.0', 'tool 1.0'])
    assert.equal((await root.run('isInstalled', list)).code, 901, 'before apply')
    assert.deepEqual(await cacheOf(root), ['addon_1.0_all.deb', 'other.deb', 'tool_1.0_all.deb'])
    assert.equal((await root.run('apply', list)).code, 700)
    assert.deepEqual(await cacheOf(root), ['other.deb'], 'what the step has downloaded')
    assert.equal((await root.run('isInstalled', list)).code, 900)
    // Progress goes up, in percent.
    assert.deepEqual(
      [...install.progress].sort((a, b) => a - b),
      install.progress,
    )
    assert.equal(install.progress.at(-1), 100)
    assert.ok(install.progress.length > 3 && install.progress.every(each => Number.isInteger(each) && each <= 100))
    assert.equal((await root.all([tool()], { criteria: 'edge-2.0' })).code, 700)
    assert.deepEqual(await root.packages(), ['addon 1.0', 'tool 3:1.0-1~rc1'])
    assert.equal(
      (await root.run('isInstalled', [tool('1.0')], { criteria: 'edge-1.0' })).code,
      901,
      'an older one of its name',
    )
  },
)

world.test('removals, in one step with an upgrade; what is absent is installed as well as removed', async root => {
  await root.all([tool('1.0'), { name: 'addon' }])
  const list = [tool('2.0'), { name: 'addon-' }, { name: 'rival-' }]
  assert.equal((await root.all(list)).code, 700)
  assert.deepEqual(await root.packages(), ['tool 2.0'])
  assert.equal((await root.run('isInstalled', list)).code, 900)
})

world.test(
  'what dpkg has decides: a package that somebody removed or changed makes the step not installed',
  async root => {
    await root.all([tool('2.0')])
    assert.equal((await root.run('isInstalled', [tool('2.0')])).code, 900)
    await root.all([{ name: 'tool-' }], { name: 'other' })
    const seen = await root.run('isInstalled', [tool('2.0')])
    assert.deepEqual([seen.code, seen.details], [901, 'tool is not installed'])
  },
)

world.test('a downgrade is refused before anything is downloaded, unless the settings allow it', async root => {
  await root.all([tool('2.0')])
  const refused = await root.run('download', [tool('1.0')])
  assert.deepEqual([refused.code, refused.extended], [0, '321000D2'])
  assert.match(refused.details, /tool would be downgraded/)
  assert.deepEqual(await root.packages(), ['tool 2.0'])
  assert.equal((await root.all([tool('1.0')], { settings: { allowDowngrade: true } })).code, 700)
  assert.deepEqual(await root.packages(), ['tool 1.0'])
})

world.test(
  'unknown packages and versions, and a name that would be a pattern: refused in words, nothing done',
  async root => {
    for (const [list, why] of [
      [[tool(), { name: 'nowhere' }], /Unable to locate package nowhere/],
      [[tool('9')], /Version '9' for 'tool' was not found/],
      [[{ name: 'tool:riscv64' }], /Unable to locate package tool:riscv64/],
      [[{ name: 'to.l' }], /Unable to locate package to\.l/],
      [[{ name: 'dotted.nam.' }], /Unable to locate package dotted\.nam\./],
      [
        Array.from({ length: 1000 }, (_, index) => ({ name: `nowhere-${index}` })),
        /Unable to locate package nowhere-0/,
      ],
    ] as const) {
      const ended = await root.run('download', list)
      assert.deepEqual([ended.code, ended.extended], [0, '30200100'], ended.details)
      assert.match(ended.details, why)
      assert.ok(ended.details.length < 3000)
    }
    assert.deepEqual(await root.packages(), [])
  },
)

world.test('a manifest that is not one is refused by every verb, and no program runs', async root => {
  root.cut = () => assert.fail('a program ran')
  for (const [manifest, extended] of [
    [{ packages: [] }, '30000068'],
    [{ name: 'a', version: '1', packages: [{ name: '-oDPkg::Pre-Invoke=touch' }] }, '30200002'],
    [{ name: 'a', version: '1', packages: [{ name: '$(touch x)' }] }, '30200002'],
    [{ name: 'a', version: '1', packages: [tool(), tool()] }, '30200002'],
    [{ name: 'a', version: '1', packages: Array.from({ length: 10_000 }, (_, n) => ({ name: `p${n}` })) }, '30000068'],
  ] as const) {
    for (const verb of ['isInstalled', 'download', 'install', 'apply'] as const) {
      const ended = await root.run(verb, manifest)
      assert.deepEqual([ended.code, ended.extended], [0, extended], verb)
    }
    assert.equal((await root.run('cancel', manifest)).code, 800)
  }
})

world.test(
  'the agent is restarted when the manifest says so, and when its own package is among the packages',
  async root => {
    await world.repository.publish(
      { name: 'pi-adu-agent', version: '1.0' },
      { name: 'killer', version: '1', control: ['Conflicts: pi-adu-agent'] },
    )
    const manifest = { name: 'edge', version: '1.0', packages: [tool('1.0')], agentRestartRequired: true }
    assert.equal((await root.all(manifest)).code, 707)
    assert.equal((await root.all([{ name: 'pi-adu-agent' }])).code, 707)
    // Without its agent the device would take no more updates.
    for (const name of ['pi-adu-agent-', 'killer']) {
      const ended = await root.run('download', [{ name }])
      assert.deepEqual([ended.code, ended.extended], [0, '321000D4'], ended.details)
      assert.match(ended.details, /would remove pi-adu-agent/)
      assert.equal((await root.run('install', [{ name }])).extended, '321000D4')
    }
    assert.deepEqual(await root.packages(), ['pi-adu-agent 1.0', 'tool 1.0'])
  },
)

world.test(
  'the store of criteria: the format of the reference, old files, damaged ones, and one that cannot be written',
  async root => {
    const file = root.options.criteriaFile as string
    await root.all([tool('1.0')])
    const entry = { state: 'installed', timestamp: '2021-01-01T00:00:00' }
    const old = ['edge-0.9', 'edge-1.0', 'edge-tools-1.0'].map(installedCriteria => ({ installedCriteria, ...entry }))
    await writeFile(file, JSON.stringify(old))
    assert.equal(
      (await root.run('isInstalled', [tool('1.0')], { criteria: 'edge-0.9' })).code,
      900,
      'an old file counts',
    )
    await root.run('apply', [tool('1.0')], { criteria: 'edge-2.0' })
    const kept = await root.criteria()
    assert.deepEqual(
      kept.map(each => each.installedCriteria),
      ['edge-tools-1.0', 'edge-2.0'],
    )
    assert.deepEqual(
      kept.map(each => each.state),
      ['installed', 'installed'],
    )
    for (const text of ['', '{', '{}', '[1,null,{"installedCriteria":5}]']) {
      await writeFile(file, text)
      assert.equal((await root.run('isInstalled', [tool('1.0')])).code, 901, text)
      assert.equal((await root.run('apply', [tool('1.0')])).code, 700, text)
      assert.equal((await root.run('isInstalled', [tool('1.0')])).code, 900, text)
    }
    const ended = await root.run('apply', [tool('1.0')], { worker: { criteriaFile: join(file, 'below-a-file') } })
    assert.deepEqual([ended.code, ended.extended], [0, '30200006'])
    assert.match(ended.details, /below-a-file cannot be written: E/)
  },
)
