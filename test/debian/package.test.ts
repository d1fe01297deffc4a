import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { IMAGE } from '../../image/builder/data.ts'
import { buildDeb } from '../../image/builder/deb.ts'
import { MAN_PAGE, manPage } from '../../image/builder/man-page.ts'
import { repositoryRoot } from '../../image/builder/repository.ts'
import { settingsIn } from '../../src/steps/settings.ts'

// The package as it lies in a file; test/debian13 installs it.

const home = mkdtempSync(join(tmpdir(), 'deb-'))
after(() => rmSync(home, { recursive: true }))
const options = { version: '0.1.0', maintainer: 'Contoso <pi@contoso.example>', epoch: 1_700_000_000 }

async function built(name: string, umask: number): Promise<string> {
  const output = join(home, name)
  execFileSync('mkdir', [output])
  const before = process.umask(umask)
  try {
    return await buildDeb({ ...options, output })
  } finally {
    process.umask(before)
  }
}

const file = await built('one', 0o022)
const tree = join(home, 'tree')
execFileSync('dpkg-deb', ['--raw-extract', file, tree])
const textOf = (path: string): string => readFileSync(join(tree, path), 'utf8')
const imageFile = (path: string): string => readFileSync(join(IMAGE, 'rootfs', path), 'utf8')
const SCRIPTS = ['postinst', 'prerm', 'postrm']

test('the same checkout gives the same bytes, whatever the umask, and nothing else is left', async () => {
  const other = await built('two', 0o077)
  assert.ok(readFileSync(file).equals(readFileSync(other)))
  assert.deepEqual(readdirSync(join(home, 'two')), ['pi-adu-agent_0.1.0_all.deb'])
})

test('everything belongs to root, has its usual mode, and lies where a package may put it', () => {
  const lines = execFileSync('dpkg-deb', ['--contents', file], { encoding: 'utf8' }).trim().split('\n')
  assert.ok(lines.length > 40)
  for (const line of lines) {
    const [mode = '', owner, size, , , path = ''] = line.split(/\s+/)
    assert.equal(owner, 'root/root', line)
    assert.match(path, /^\.\/($|etc\/$|etc\/(adu|pi-adu)\/|usr\/$|usr\/(bin|lib|share)\/)/, line)
    const expected = path.endsWith('/')
      ? 'drwxr-xr-x'
      : /^\.\/usr\/(bin\/|lib\/pi-adu\/pi-adu(-steps)?\.mjs$)/.test(path)
        ? '-rwxr-xr-x'
        : '-rw-r--r--'
    assert.equal(mode, expected, line)
    assert.ok(path.endsWith('/') || Number(size) > 0, `${path} is empty`)
    // Pure JavaScript: it is for every architecture.
    assert.doesNotMatch(path, /\.(node|so)$|node_modules/)
  }
})

test('the control file has what Debian asks for, and nothing is essential anyway', () => {
  const control = textOf('DEBIAN/control')
  for (const line of [
    'Package: pi-adu-agent',
    'Version: 0.1.0',
    'Architecture: all',
    'Maintainer: Contoso <pi@contoso.example>',
    'Section: admin',
    'Priority: optional',
  ])
    assert.ok(control.includes(`${line}\n`), line)
  const depends = /^Depends: (.*)$/m.exec(control)?.[1] ?? ''
  assert.match(depends, /\bnodejs \(>= 20\.19\)/)
  // The unit uses what came with it, and so do the users.
  assert.match(depends, /\bsystemd \(>= 257\)/)
  const [synopsis = '', ...description] = control.slice(control.indexOf('Description: ')).trimEnd().split('\n')
  assert.ok(synopsis.length <= 13 + 80)
  for (const line of description) assert.match(line, /^ (\.|\S.{0,78})$/)
  assert.ok(Number(/^Installed-Size: (\d+)$/m.exec(control)?.[1]) > 500)
})

test('files under /etc are the owner’s once they are installed, and every file has its sum', () => {
  assert.equal(textOf('DEBIAN/conffiles'), '/etc/adu/du-config.example.json\n/etc/pi-adu/steps.json\n')
  const rows = textOf('DEBIAN/md5sums').trimEnd().split('\n')
  const installed = readdirSync(tree, { recursive: true, withFileTypes: true })
    .filter(each => each.isFile())
    .map(each => join(each.parentPath, each.name).slice(tree.length + 1))
    .filter(path => !path.startsWith('DEBIAN/'))
  assert.deepEqual(rows.map(row => row.slice(34)).sort(), installed.sort())
  for (const row of rows) {
    const sum = createHash('md5')
      .update(readFileSync(join(tree, row.slice(34))))
      .digest('hex')
    assert.equal(row.slice(0, 32), sum, row)
  }
})

test('units, users and rules are the image’s own, without the image’s owner', () => {
  const units = readdirSync(join(tree, 'usr/lib/systemd/system'))
  assert.deepEqual(units, ['pi-adu-agent.service', 'pi-adu-steps.service', 'pi-adu-steps.socket'])
  for (const unit of units)
    assert.equal(textOf(`usr/lib/systemd/system/${unit}`), imageFile(`etc/systemd/system/${unit}`))
  assert.equal(textOf('usr/share/polkit-1/rules.d/50-pi-adu.rules'), imageFile('etc/polkit-1/rules.d/50-pi-adu.rules'))
  const [own, image] = [textOf('usr/lib/sysusers.d/pi-adu.conf'), imageFile('usr/lib/sysusers.d/pi-adu.conf')]
  assert.doesNotMatch(own, /owner/i)
  assert.match(own, /^u! adu 870:870 /m)
  for (const line of own.split('\n')) assert.ok(image.split('\n').includes(line), line)
})

test('the agent’s unit names nothing that only the image has', () => {
  const unit = textOf('usr/lib/systemd/system/pi-adu-agent.service')
  const settings = unit.split('\n').filter(line => !line.startsWith('#'))
  for (const line of settings) assert.doesNotMatch(line, /\/data\b|\/boot\/firmware|provision|pi-adu\/other/, line)
  assert.ok(settings.includes('ConditionPathExists=/etc/adu/du-config.json'))
})

test('the maintainer scripts are complete shell, end at the first failure, and name every unit', () => {
  for (const name of SCRIPTS) {
    const script = textOf(`DEBIAN/${name}`)
    assert.match(script, /^#!\/bin\/sh\nset -e\n/)
    assert.doesNotMatch(script, /@\w+@|undefined/)
    assert.equal(spawnSync('sh', ['-n'], { input: script }).status, 0, name)
    assert.match(script, /pi-adu-agent\.service/)
  }
})

test('the program runs, and the example is refused for its placeholder alone', () => {
  const program = join(tree, 'usr/lib/pi-adu/pi-adu.mjs')
  const run = (...args: string[]) => spawnSync(process.execPath, [program, ...args], { encoding: 'utf8' })
  assert.equal(
    run('--version').stdout,
    `${JSON.parse(readFileSync(join(repositoryRoot(), 'package.json'), 'utf8')).version}\n`,
  )
  const config = join(home, 'du-config.json')
  writeFileSync(config, textOf('etc/adu/du-config.example.json'), { mode: 0o600 })
  const { status, stderr } = run('check-config', '--config', config)
  assert.equal(status, 78, stderr)
  assert.match(stderr, /connectionData/)
  assert.doesNotMatch(stderr, /;/, 'one complaint')
})

test('the step service takes packages and runs no scripts', () => {
  const { scripts, packages } = settingsIn(textOf('etc/pi-adu/steps.json'), 'steps.json')
  assert.deepEqual([packages.run, scripts.run, scripts.asRoot], ['on', 'off', []])
  assert.ok(existsSync(join(tree, 'usr/lib/pi-adu/pi-adu-steps.mjs')))
})

test('the man page is made from the commands, and has them all', () => {
  assert.equal(readFileSync(MAN_PAGE, 'utf8'), manPage(), 'image/debian/pi-adu.1 is out of date: run npm run docs')
  const help = spawnSync(process.execPath, [join(repositoryRoot(), 'dist/src/main.js'), '--help'], { encoding: 'utf8' })
  const commands = [...help.stdout.matchAll(/^ {2}([a-z-]+)(?: \[options\]| <)/gm)].map(([, name]) => name ?? '')
  assert.ok(commands.length >= 8, commands.join())
  for (const name of commands) assert.ok(manPage().includes(`.SS "pi\\-adu ${name.replaceAll('-', '\\-')} `), name)
})

test('man reads the page without a warning', { skip: !existsSync('/usr/bin/man') && 'there is no man' }, () => {
  const { status, stderr } = spawnSync('man', ['--warnings', '-E', 'UTF-8', '-l', '-Tutf8', MAN_PAGE], {
    encoding: 'utf8',
    env: { ...process.env, MANWIDTH: '80', MANPAGER: 'cat' },
  })
  assert.deepEqual([status, stderr], [0, ''])
})
