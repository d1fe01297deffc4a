import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, chownSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { IMAGE, linesOf } from '../../image/builder/data.ts'
import { repositoryRoot } from '../../image/builder/repository.ts'

// Who may lock and consent, by the image's lists of users and of folders in /run.

const home = mkdtempSync(join(tmpdir(), 'users-'))
after(() => rmSync(home, { recursive: true, force: true }))

const users = linesOf('rootfs/usr/lib/sysusers.d/pi-adu.conf').map(line => line.split(/\s+/))
/** Folder → mode and group. */
const folders = new Map(
  linesOf('rootfs/usr/lib/tmpfiles.d/pi-adu.conf').map(line => {
    const [, path = '', mode = '', , group = ''] = line.split(/\s+/)
    return [path, { mode: Number.parseInt(mode, 8), group }]
  }),
)
const group = folders.get('/run/pi-adu')!.group
const idOf = (name: string): number => Number(users.find(([type, own]) => type === 'g' && own === name)?.[2])
/** Numbers of the groups that a user belongs to beside its own. */
const groupsOf = (user: string): readonly number[] =>
  users
    .filter(([type, member, of]) => type === 'm' && member === user && Number.isInteger(idOf(of!)))
    .map(row => idOf(row[2]!))

test('locks and consent have a group of their own, with a fixed number', () => {
  assert.equal(folders.get('/run/pi-adu/locks')!.group, group)
  const ids = users.filter(([type]) => type === 'g' || type?.startsWith('u')).map(row => Number.parseInt(row[2]!, 10))
  assert.ok(ids.every(Number.isInteger), String(ids))
  assert.equal(ids.filter(id => id === idOf(group)).length, 1)
  // Nothing else is open to it: neither boot state nor slots, nor files on the data partition.
  for (const list of ['etc/fstab', 'etc/udev/rules.d/90-pi-adu.rules', 'etc/sudoers.d/owner'])
    assert.doesNotMatch(readFileSync(join(IMAGE, 'rootfs', list), 'utf8'), new RegExp(`${group}|${idOf(group)}`))
  const others = [...folders].filter(([path]) => !path.startsWith('/run/pi-adu'))
  for (const [path, { group: other }] of others) assert.notEqual(other, group, path)
  for (const line of linesOf('data.txt')) assert.notEqual(line.split(/\s+/)[2], String(idOf(group)))
})

test('the agent and the owner belong to it, and the pages name it', () => {
  for (const user of ['adu', 'owner']) assert.ok(groupsOf(user).includes(idOf(group)), user)
  const page = readFileSync(join(repositoryRoot(), 'src/gates/README.md'), 'utf8')
  assert.match(page, new RegExp(`SupplementaryGroups=${group}\\b`))
  assert.doesNotMatch(page, /adduser/)
})

test('an application of the group consents, the agent removes the consent, others may do neither', t => {
  if (process.getuid?.() !== 0) return t.skip('needs root, to be several users')
  const dir = mkdtempSync(join(home, 'run-'))
  chownSync(dir, 0, idOf(group))
  chmodSync(home, 0o755)
  chmodSync(dir, folders.get('/run/pi-adu')!.mode)
  const consent = join(dir, 'consent')
  const as = (id: number, groups: readonly number[], ...argv: readonly string[]): boolean => {
    const list = groups.length > 0 ? `--groups=${groups.join(',')}` : '--clear-groups'
    return spawnSync('setpriv', [`--reuid=${id}`, `--regid=${id}`, list, ...argv], { stdio: 'ignore' }).status === 0
  }
  assert.equal(as(2001, [], 'touch', consent), false)
  assert.equal(as(2001, [idOf(group)], 'touch', consent), true)
  assert.equal(as(2002, [], 'rm', '-f', consent), false)
  assert.equal(as(870, groupsOf('adu'), 'rm', '-f', consent), true)
  assert.equal(existsSync(consent), false)
  writeFileSync(consent, '')
  assert.equal(as(870, groupsOf('adu'), 'rm', '-f', consent), true)
})
