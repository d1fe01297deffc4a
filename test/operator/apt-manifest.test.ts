import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { readAptManifest } from '../../src/handlers/apt/apt-manifest.ts'
import { entryOf, pinned, versionsIn, wordsIn } from '../../src/operator/apt-manifest/words.ts'
import { operator } from './support.ts'

let dir: string
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'apt-manifest-'))
})
after(() => rm(dir, { recursive: true }))
const run = (...args: string[]) => operator(['apt-manifest', ...args], undefined, { cwd: dir })
const usual = ['--name', 'contoso-tools', '--update-version', '1.4']

test('create writes what a device reads, in the order of file and command line; check says what it is', async () => {
  await writeFile(join(dir, 'tools.txt'), '# tools\r\nthermocontrol=1.0.1  # exact\r\n\r\nlibfoo:arm64 oldtool-\r\n')
  const made = await run('create', ...usual, '--from', 'tools.txt', 'foo=1:2.0~rc1-1+b2', '--agent-restart')
  assert.deepEqual([made.exitCode, made.stderr], [0, ''])
  assert.equal(
    made.stdout,
    'warning: without a version, so that each device takes the newest that it finds: libfoo:arm64\nwritten: contoso-tools-1.4.json',
  )
  const file = join(dir, 'contoso-tools-1.4.json')
  assert.deepEqual(readAptManifest(await readFile(file)), {
    name: 'contoso-tools',
    version: '1.4',
    packages: [
      { name: 'thermocontrol', version: '1.0.1', remove: false },
      { name: 'libfoo:arm64', remove: false },
      { name: 'oldtool', remove: true },
      { name: 'foo', version: '1:2.0~rc1-1+b2', remove: false },
    ],
    agentRestartRequired: true,
  })
  const checked = await run('check', file)
  assert.equal(checked.exitCode, 0)
  assert.match(checked.stdout, /is in order: 4 packages, installedCriteria "contoso-tools-1\.4"$/)
})

test('versions come from a Packages file or from dpkg-query', async () => {
  const packages = [
    'Package: foo\nVersion: 1.2-1\nDepends: bar (= 9)\nDescription: Version: 7\n more\n\n',
    'Package: bar\nArchitecture: all\nVersion: 2:3.0\n\n',
    'Package: two\nVersion: 1\n\nPackage: two\nVersion: 2\n',
  ].join('')
  await writeFile(join(dir, 'Packages'), packages)
  const made = await run('create', ...usual, '--pin', 'Packages', '--out', '-', 'foo', 'bar=1', 'gone-')
  assert.deepEqual(JSON.parse(made.stdout).packages, [
    { name: 'foo', version: '1.2-1' },
    { name: 'bar', version: '1' },
    { name: 'gone-' },
  ])
  const known = versionsIn(packages, 'Packages')
  assert.throws(
    () => pinned(entryOf('two'), known, 'Packages'),
    /two has several versions in Packages \(1, 2\): write two=/,
  )
  assert.throws(() => pinned(entryOf('none'), known, 'Packages'), /none is not in Packages/)
  const shown = versionsIn('foo\t1.0\nlibfoo:arm64\t2.0-1\nremoved\t3\n', 'list')
  assert.deepEqual(pinned(entryOf('libfoo:arm64'), shown, 'list'), { name: 'libfoo:arm64', version: '2.0-1' })
  assert.throws(() => versionsIn('a b c\n', 'list'), /list: line 1 is not a name and a version/)
  assert.deepEqual(wordsIn('a # b\n#c\n d\te'), ['a', 'd', 'e'])
})

test('what no device takes is not written, and check refuses it, in one sentence', async () => {
  await writeFile(join(dir, 'bad.json'), '{"name":"x","packages":[]}')
  const rows: readonly (readonly [readonly string[], number, RegExp])[] = [
    [['create', ...usual], 64, /no package: name them, or give --from FILE/],
    [['create', ...usual, '$(reboot)'], 1, /packages\.0: "\$\(reboot\)" is not the name of a Debian package/],
    [['create', ...usual, 'foo', 'foo=1'], 1, /packages\.1: foo is in the list already, as entry 0/],
    [['create', ...usual, 'foo=1;2'], 1, /the version "1;2" of foo is not a Debian version/],
    [['create', ...usual, '--', '-o', 'x'], 1, /packages\.0: "-o" is not the name/],
    [['create', '--name', '../x', '--update-version', '1', 'foo'], 64, /cannot be the name of a file: give --out FILE/],
    [['create', '--name', 'x', 'foo'], 64, /required option '--update-version/],
    [['check', 'bad.json'], 1, /bad\.json: the APT manifest: version is missing/],
    [['check', 'none.json'], 64, /cannot read none\.json/],
  ]
  for (const [args, code, line] of rows) {
    const { exitCode, stdout, stderr } = await run(...args)
    assert.match(stderr, line)
    assert.deepEqual([exitCode, stdout], [code, ''])
  }
})
