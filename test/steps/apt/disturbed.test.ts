import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { execa } from 'execa'
import { World, waits } from './world.ts'

const world = new World(
  { name: 'tool', version: '1.0' },
  { name: 'second', version: '1.0' },
  { name: 'slow', version: '1.0', scripts: { postinst: waits('slow') } },
  { name: 'big', version: '1.0', size: 30_000_000 },
  { name: 'bulky', version: '1.0', size: 3_000_000 },
  { name: 'huge', version: '1.0', installed: 100_000_000_000 },
  { name: 'unpacks', version: '1.0', scripts: { preinst: waits('unpacks') } },
  { name: 'broken', version: '1.0', scripts: { postinst: 'echo "the database is unreachable"; exit 3' } },
  { name: 'broken', version: '1.1', scripts: { postinst: 'true' } },
  { name: 'spoilt', version: '1.0' },
)

world.test(
  'a maintainer script that fails: its words are in the details; a mended version repairs the device',
  async root => {
    const failed = await root.all([{ name: 'tool' }, { name: 'broken', version: '1.0' }])
    assert.deepEqual([failed.code, failed.extended], [0, '30200200'])
    assert.match(
      failed.details,
      /^apt-get install: .*broken.*script subprocess returned error exit status 3; it said: /,
    )
    assert.match(failed.details, /the database is unreachable/)
    assert.deepEqual(await root.packages(), ['broken 1.0 half-configured', 'tool 1.0'])
    assert.equal((await root.run('isInstalled', [{ name: 'broken' }])).code, 901)
    assert.equal((await root.all([{ name: 'broken', version: '1.1' }])).code, 700)
    assert.deepEqual(await root.packages(), ['broken 1.1', 'tool 1.0'])
  },
)

world.test('the repository goes away half-way: nothing is installed, and the next attempt completes it', async root => {
  const list = [{ name: 'tool' }, { name: 'second' }]
  world.repository.gone.push('second_1.0_all.deb')
  try {
    const failed = await root.all(list)
    assert.deepEqual([failed.code, failed.extended], [0, '30200100'])
    assert.match(failed.details, /^apt-get download: Failed to fetch .*second_1\.0_all\.deb +404/)
    assert.deepEqual(await root.packages(), [])
    // Without lists, what was downloaded or known before still does.
    world.repository.gone.push('InRelease', 'Packages', 'Release')
    const old = await root.run('download', [{ name: 'tool' }])
    assert.equal(old.code, 500, old.details)
    assert.match(old.details, /^apt-get update: .*(404|Release)/)
    const unknown = await root.run('download', list)
    assert.match(unknown.details, /the lists are not all new \(/)
  } finally {
    world.repository.gone.length = 0
  }
  assert.equal((await root.all(list)).code, 700)
})

world.test('a package that is not the signed one is not installed', async root => {
  world.repository.spoil('spoilt')
  const failed = await root.all([{ name: 'spoilt' }])
  assert.deepEqual([failed.code, failed.extended], [0, '30200100'])
  assert.match(failed.details, /Hash Sum mismatch/)
  assert.deepEqual(await root.packages(), [])
})

for (const [name, when, status] of [
  ['unpacks', 'tmp/unpacks', /^unpacks .*half-installed$/],
  ['big', /^pmstatus:big:.*:Unpacking/, /^(?!big 1\.0$)/],
  ['slow', 'tmp/slow', /^slow 1\.0 half-configured$/],
] as const) {
  world.test(
    `everything is killed while ${name} is ${name === 'slow' ? 'configured' : 'unpacked'}; then again`,
    async root => {
      const list = [{ name: 'tool' }, { name }]
      assert.equal((await root.run('download', list)).code, 500)
      if (typeof when !== 'string') root.cut = line => when.test(line)
      const install = root.run('install', list)
      if (typeof when === 'string') await root.appears(when).then(() => root.kill())
      assert.equal((await install).code, 0)
      root.cut = () => false
      assert.match((await root.packages()).find(each => each.startsWith(name)) ?? '', status)
      assert.equal((await root.run('isInstalled', list)).code, 901)
      await writeFile(join(root.folder, 'tmp/go'), '')
      const again = await root.all(list)
      assert.equal(again.code, 700, again.details)
      assert.deepEqual(await root.packages(), [`${name} 1.0`, 'tool 1.0'].sort())
      assert.equal((await root.run('isInstalled', list)).code, 900)
    },
  )
}

world.test(
  'the lock of another apt: waited for with a limit, then a code of its own that names the holder',
  async root => {
    await root.run('download', [{ name: 'slow' }, { name: 'tool' }])
    const other = root.start(['apt-get', '-y', 'install', 'slow'])
    await root.appears('tmp/slow')
    const refused = await root.run('install', [{ name: 'tool' }], { settings: { lockSeconds: 1 } })
    assert.deepEqual([refused.code, refused.extended], [0, '321000D0'], refused.details)
    assert.match(refused.details, /lock.*held by process \d+ \(apt-get\)/)
    const waiting = root.run('install', [{ name: 'tool' }], { settings: { lockSeconds: 60 } })
    await writeFile(join(root.folder, 'tmp/go'), '')
    assert.equal((await other).exitCode, 0)
    assert.equal((await waiting).code, 600)
    assert.deepEqual(await root.packages(), ['slow 1.0', 'tool 1.0'])
  },
)

world.test('a step that takes too long is ended, and the next one completes it', async root => {
  await root.run('download', [{ name: 'slow' }])
  const ended = await root.run('install', [{ name: 'slow' }], { timeout: 2000 })
  assert.deepEqual([ended.code, ended.extended], [0, '321000D3'], ended.details)
  await writeFile(join(root.folder, 'tmp/go'), '')
  assert.equal((await root.all([{ name: 'slow' }])).code, 700)
})

world.test('a cancel ends a download at once; an installation that has begun is completed', async root => {
  const early = new AbortController()
  early.abort(new Error('cancelled'))
  for (const verb of ['download', 'install'] as const) {
    const ended = await root.run(verb, [{ name: 'slow' }], { signal: early.signal })
    assert.deepEqual([ended.code, ended.details], [-1, 'cancelled; no package was changed'])
  }
  assert.deepEqual(await root.packages(), [])
  await root.run('download', [{ name: 'slow' }])
  const late = new AbortController()
  const install = root.run('install', [{ name: 'slow' }], { signal: late.signal })
  await root.appears('tmp/slow')
  late.abort(new Error('cancelled'))
  await writeFile(join(root.folder, 'tmp/go'), '')
  assert.equal((await install).code, 600)
  assert.deepEqual(await root.packages(), ['slow 1.0'])
})

world.test('too little space: found by the numbers of apt before the download, by apt, and by dpkg', async root => {
  for (const [name, options] of [
    ['tool', { archives: '/proc' }],
    ['huge', {}],
  ] as const) {
    const refused = await root.run('download', [{ name }], { worker: options })
    assert.deepEqual([refused.code, refused.extended], [0, '321000D1'], refused.details)
    assert.match(refused.details, /^the packages need [\d.]+ MB in \S+, which has [\d.]+ MB free$/)
  }
  const namespace = ['unshare', ...(process.getuid?.() === 0 ? [] : ['--map-root-user']), '--mount']
  const small = (folder: string) => [
    ...namespace,
    ...['sh', '-c', 'mount -t tmpfs -o size=1m tmpfs "$0" && exec "$@"', join(root.folder, folder)],
  ]
  const archives = 'var/cache/apt/archives'
  if ((await execa(namespace[0] ?? '', [...small(archives).slice(1), 'true'], { reject: false })).failed) {
    return 'of apt and dpkg themselves: needs unshare, to mount a small file system'
  }
  root.within = small(archives)
  const byApt = await root.run('download', [{ name: 'bulky' }])
  assert.deepEqual([byApt.code, byApt.extended], [0, '321000D1'], byApt.details)
  root.within = []
  assert.equal((await root.run('download', [{ name: 'bulky' }])).code, 500)
  root.within = small('usr/share')
  const byDpkg = await root.run('install', [{ name: 'bulky' }])
  assert.deepEqual([byDpkg.code, byDpkg.extended], [0, '321000D1'], byDpkg.details)
  root.within = []
  assert.equal((await root.all([{ name: 'bulky' }])).code, 700)
  return undefined
})

world.test(
  'power cuts all along an installation with removals: each time the next attempt completes it',
  async root => {
    const list = [{ name: 'tool' }, { name: 'second' }, { name: 'broken', version: '1.1' }, { name: 'bulky-' }]
    const ALL = ['broken 1.1', 'second 1.0', 'tool 1.0']
    let cuts = 0
    let late = 0
    for (let at = 1; ; at += 4) {
      const before = [{ name: 'bulky' }, ...['tool', 'second', 'broken'].map(name => ({ name: `${name}-` }))]
      assert.equal((await root.all(before, { name: 'before' })).code, 700)
      assert.equal((await root.run('download', list)).code, 500)
      let seen = 0
      root.cut = line => /^pmstatus:/.test(line) && ++seen === at
      const cut = await root.run('install', list)
      root.cut = () => false
      if (seen < at) break
      if (cut.code === 600) {
        // On a busy machine apt may end before the cut comes: the same place is tried again, twice.
        late = (late + 1) % 3
        if (late > 0) at -= 4
        continue
      }
      late = 0
      cuts += 1
      const found = (await root.run('isInstalled', list)).code
      // The last line may come when dpkg has done everything.
      if (found === 900) assert.deepEqual(await root.packages(), ALL)
      else assert.equal(found, 901)
      const again = await root.all(list)
      assert.equal(again.code, 700, again.details)
      assert.deepEqual(await root.packages(), ALL)
    }
    assert.ok(cuts >= 3, `${cuts} cuts`)
  },
)
