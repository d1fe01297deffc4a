import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, test } from 'node:test'
import { IMAGE, links } from '../../image/builder/data.ts'
import { namesIn, packOverlay } from '../../image/builder/overlay.ts'
import { enableUnit, refuseOutside } from '../../image/builder/root-tree.ts'

const home = mkdtempSync(join(tmpdir(), 'root-tree-'))
after(() => rmSync(home, { recursive: true, force: true }))

/** The build machine's own folder, which a tree must not reach. */
const outside = mkdtempSync(join(home, 'outside-'))

/** Path → content; a text that begins with `->` is a link, a path that ends with `/` a folder. */
function treeOf(content: Readonly<Record<string, string>>): string {
  const tree = mkdtempSync(join(home, 'tree-'))
  for (const [path, text] of Object.entries(content)) {
    const file = join(tree, path)
    mkdirSync(path.endsWith('/') ? file : dirname(file), { recursive: true })
    if (path.endsWith('/')) continue
    if (text.startsWith('->')) symlinkSync(text.slice(2), file)
    else writeFileSync(file, text)
  }
  return tree
}

const BASE = {
  'usr/lib/ssl/certs': `->${outside}`,
  'usr/lib/up': '->../../../x',
  'usr/share/app-1/': '',
  'usr/share/app': '->app-1',
  'usr/share/far': '->app/../../lib/ssl',
  'usr/share/loop': '->loop',
  bin: '->usr/bin',
  'usr/bin/': '',
}
const PLACES: readonly [path: string, link: string | undefined][] = [
  ['usr/lib/ssl/certs/my.pem', 'usr/lib/ssl/certs'],
  ['usr/lib/ssl/certs/deep/my.pem', 'usr/lib/ssl/certs'],
  ['usr/lib/up/file', 'usr/lib/up'],
  ['usr/share/far/certs/my.pem', 'usr/lib/ssl/certs'],
  ['usr/share/loop/file', 'usr/share/loop'],
  ['usr/share/app/file', undefined],
  ['bin/app', undefined],
  ['usr/lib/app/file', undefined],
  // The link itself may be replaced.
  ['usr/lib/ssl/certs', undefined],
]
for (const [path, link] of PLACES) {
  test(`a file of a layer at ${path} is ${link ? 'refused' : 'accepted'}`, async () => {
    const checking = refuseOutside(treeOf(BASE), [path])
    if (link === undefined) return checking
    await assert.rejects(checking, {
      message: `a layer is refused: ${path}: ${link} is a link in the image: name the folder that it leads to instead`,
    })
  })
}

test('a file or link of a layer in the place of a folder that is not empty is refused', async () => {
  const tree = treeOf({ 'root/.bashrc': '', 'root/.profile': '', 'opt/': '', 'usr/share/app/x': '', link: '->root' })
  await assert.rejects(refuseOutside(tree, ['root']), {
    message: 'a layer is refused: root: it is a folder in the image, with .bashrc and 1 more',
  })
  await refuseOutside(tree, ['opt', 'root/', 'link', 'usr/share/app/x', 'usr/share/app/y', ''])
})

test('an overlay goes into folders that are there', async () => {
  const tree = treeOf({ 'etc/passwd': '', 'opt/old/x': '' })
  const overlay = join(treeOf({ 'here/': '' }), 'overlay.tar')
  const from = join(treeOf({ 'etc/app/x': '', app: '' }), 'app')
  await packOverlay(overlay, [{ from: dirname(from) }], [{ from, path: 'opt/old/y' }], [], 0)
  const names = await namesIn(overlay)
  assert.ok(names.includes('etc/') && names.includes('opt/old/') && names.includes('etc/app/x'), names.join())
  await refuseOutside(tree, names)
})

const UNIT = 'usr/lib/systemd/system/app.service'
const SYSTEM = 'etc/systemd/system'

test('a unit is enabled for each target that wants it', async () => {
  const tree = treeOf({ [UNIT]: '[Install]\nWantedBy=multi-user.target  dev-x@1.device \n', [`${SYSTEM}/`]: '' })
  await enableUnit(tree, 'app.service')
  await enableUnit(tree, 'app.service')
  assert.deepEqual(readdirSync(join(tree, SYSTEM)).sort(), ['dev-x@1.device.wants', 'multi-user.target.wants'])
  assert.equal(readlinkSync(join(tree, SYSTEM, 'multi-user.target.wants/app.service')), `/${UNIT}`)
})

test('an instance of a template is enabled, and a unit that another one requires', async () => {
  const template = 'usr/lib/systemd/system/app@.service'
  const tree = treeOf({
    [template]: '[Install]\nWantedBy=multi-user.target\nRequiredBy=other.service\n',
    [`${SYSTEM}/`]: '',
  })
  await enableUnit(tree, 'app@one.service')
  for (const folder of ['multi-user.target.wants', 'other.service.requires'])
    assert.equal(readlinkSync(join(tree, SYSTEM, folder, 'app@one.service')), `/${template}`)
})

const WRONG: readonly [what: string, content: Readonly<Record<string, string>>, why: RegExp][] = [
  ['a target with a path', { [UNIT]: 'WantedBy=../../../../outside\n' }, /WantedBy="\.\..* is not the name of a unit/],
  ['an absolute target', { [UNIT]: `WantedBy=${outside}/x\n` }, /is not the name of a unit/],
  [
    'a folder of wants that is a link',
    { [UNIT]: 'WantedBy=foo.target\n', [`${SYSTEM}/foo.target.wants`]: `->${outside}` },
    /etc\/systemd\/system\/foo\.target\.wants is not a folder/,
  ],
  ['a unit that is a link to the build machine', { [UNIT]: `->${outside}/unit` }, /a link that leads out of the image/],
  ['no unit', {}, /there is no app\.service, neither in a package nor in rootfs\/ of a layer/],
  ['a unit that nothing wants', { [UNIT]: '[Service]\n' }, /app\.service has no WantedBy= in \[Install\]/],
]
for (const [what, content, why] of WRONG) {
  test(`${what} is refused, and nothing is written outside of the tree`, async () => {
    writeFileSync(join(outside, 'unit'), 'WantedBy=multi-user.target\n')
    await assert.rejects(enableUnit(treeOf({ [`${SYSTEM}/`]: '', ...content }), 'app.service'), why)
    assert.deepEqual(readdirSync(outside), ['unit'])
    assert.ok(
      readdirSync(home).every(name => /^(tree|outside)-\w{6}$/.test(name)),
      String(readdirSync(home)),
    )
  })
}

test('no file of the image is a link in the checkout, because a copy of it may make that a file with the name of the target', () => {
  const found = readdirSync(IMAGE, { recursive: true, withFileTypes: true }).filter(entry => entry.isSymbolicLink())
  assert.deepEqual(
    found.map(entry => join(entry.parentPath, entry.name)),
    [],
  )
  const targets = links().map(([, target]) => target)
  assert.ok(targets.includes('/data/adu-steps') && targets.includes('/data/adu/localtime'))
  for (const [path, target] of links()) {
    assert.match(path, /^[a-z][\w./-]+$/)
    assert.match(target, /^(\/|\.\.\/)/)
  }
})
