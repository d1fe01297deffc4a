import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { buildDeb } from '../../image/builder/deb.ts'
import { repositoryRoot } from '../../image/builder/repository.ts'

// Run by scripts/test --debian13, in the order of the life of a package on one system. systemd does not run there: where a script
// of the package asks for it, programs of ours stand in for systemctl and deb-systemd-invoke, and write down what they were asked.

const fresh = process.env.FRESH_ROOT ?? assert.fail('run scripts/test --debian13')
const home = mkdtempSync(join(tmpdir(), 'deb-'))
after(() => rmSync(home, { recursive: true }))
const at = (path: string): string => join(fresh, path)
/** Before /usr/bin in the scripts' path. */
const STANDS_IN = ['systemctl', 'deb-systemd-invoke'].map(name => at(`usr/sbin/${name}`))
const CALLS = at('var/tmp/calls')
after(() => {
  for (const file of [...STANDS_IN, CALLS, at('var/tmp/active')]) rmSync(file, { force: true })
  rmSync(at('run/systemd'), { recursive: true, force: true })
})

/** As root; both outputs together. */
function inside(command: string): { status: number | null; said: string } {
  const argv = [fresh, 'sh', '-c', command]
  const { status, stdout, stderr } = spawnSync(join(repositoryRoot(), 'scripts/lib/in-root'), argv, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  return { status, said: `${stdout}${stderr}` }
}

function wellInside(command: string): string {
  const { status, said } = inside(command)
  assert.equal(status, 0, said)
  return said.trim()
}

const QUIET = 'DEBIAN_FRONTEND=noninteractive'
const dpkg = (what: string): string => wellInside(`${QUIET} dpkg ${what}`)

async function packageOf(version: string): Promise<string> {
  const options = { version, maintainer: 'Contoso <pi@contoso.example>', epoch: 1_700_000_000, output: home }
  const file = await buildDeb(options)
  mkdirSync(at('var/tmp'), { recursive: true })
  copyFileSync(file, at('var/tmp/agent.deb'))
  return '/var/tmp/agent.deb'
}

/** From now on the scripts of the package find a systemd, in which this unit of a step is active. */
function withSystemd(active: string): void {
  mkdirSync(at('run/systemd/system'), { recursive: true })
  writeFileSync(at('var/tmp/active'), active)
  writeFileSync(CALLS, '')
  const script = [
    '#!/bin/sh',
    `echo "$(basename "$0") $*" >>/var/tmp/calls`,
    'case $* in *list-units*) cat /var/tmp/active ;; esac',
  ].join('\n')
  for (const file of STANDS_IN) writeFileSync(file, `${script}\n`, { mode: 0o755 })
}

const calls = (): string => readFileSync(CALLS, 'utf8')
/** Which starts it, unless its owner has disabled it (deb-systemd-invoke(1p)). */
const RESTARTS = /^deb-systemd-invoke restart pi-adu-agent\.service$/m
const UNIT = '/usr/lib/systemd/system/pi-adu-agent.service'
const LINK = '/etc/systemd/system/multi-user.target.wants/pi-adu-agent.service'
const CONFIG = at('etc/adu/du-config.json')

test('it is installed with what it needs, for a user of its own, and starts nothing', async () => {
  wellInside('apt-get -qq update')
  wellInside(`${QUIET} apt-get -qq --yes --no-install-recommends install ${await packageOf('0.1.0')}`)
  assert.equal(
    wellInside('pi-adu --version'),
    JSON.parse(readFileSync(join(repositoryRoot(), 'package.json'), 'utf8')).version,
  )
  assert.equal(wellInside('stat -c "%U %G %a" /var/lib/adu /etc/adu'), 'adu adu 700\nroot adu 750')
  assert.equal(wellInside('id -un 870; getent passwd adu | cut -d: -f7'), 'adu\n/usr/sbin/nologin')
  // Enabled, so that it starts with the system once there is a configuration.
  assert.equal(wellInside(`readlink ${LINK}`), UNIT)
  assert.equal(wellInside('dpkg --verify pi-adu-agent | grep -v /usr/share || true'), '')
  assert.equal(wellInside('dpkg --audit'), '')
})

test('its units are what systemd of this Debian understands', () => {
  const units = wellInside('dpkg -L pi-adu-agent | grep /usr/lib/systemd/system/pi-adu | xargs')
  const { said } = inside(`systemd-analyze verify --man=no ${units}`)
  assert.deepEqual(
    said.split('\n').filter(line => /pi-adu/.test(line) && !/is not executable/.test(line)),
    [],
  )
})

test('an owner’s change of a file under /etc survives an upgrade, and so do configuration and state', async () => {
  writeFileSync(at('etc/pi-adu/steps.json'), '{"scripts": {"run": "on"}}\n')
  writeFileSync(CONFIG, '{}\n', { mode: 0o640 })
  mkdirSync(at('var/lib/adu/identity'), { recursive: true })
  for (const file of ['journal.json', 'identity/assignment.json']) writeFileSync(at(`var/lib/adu/${file}`), '{}')
  dpkg(`--install ${await packageOf('0.1.1')}`)
  assert.equal(wellInside('dpkg-query --show pi-adu-agent'), 'pi-adu-agent\t0.1.1')
  assert.equal(readFileSync(at('etc/pi-adu/steps.json'), 'utf8'), '{"scripts": {"run": "on"}}\n')
  assert.ok(existsSync(at('var/lib/adu/journal.json')))
})

test('an upgrade restarts an agent that has nothing to do, and touches nothing while a step runs', async () => {
  withSystemd('')
  dpkg(`--install ${await packageOf('0.1.2')}`)
  assert.match(calls(), RESTARTS)
  withSystemd('pi-adu-step-0a1b2c.service')
  dpkg(`--install ${await packageOf('0.1.3')}`)
  assert.match(calls(), /^systemctl list-units .*pi-adu-step-\*\.service$/m)
  assert.doesNotMatch(calls(), /\b(stop|restart) /)
  assert.match(calls(), /daemon-reload/)
})

test('removed, it has stopped, and the owner’s files and the state are still there', () => {
  withSystemd('')
  dpkg('--remove pi-adu-agent')
  assert.match(calls(), /^deb-systemd-invoke stop pi-adu-agent\.service/m)
  assert.ok(!existsSync(at('usr/lib/pi-adu')) && !existsSync(at('usr/bin/pi-adu')))
  for (const file of ['etc/adu/du-config.json', 'etc/pi-adu/steps.json', 'var/lib/adu/journal.json'])
    assert.ok(existsSync(at(file)), file)
})

test('installed again with its configuration, it starts', async () => {
  withSystemd('')
  dpkg(`--install ${await packageOf('0.1.3')}`)
  assert.match(calls(), RESTARTS)
  assert.equal(wellInside(`readlink ${LINK}`), UNIT)
  // No longer masked, as it was while the package was removed.
  assert.equal(wellInside('ls /etc/systemd/system | grep -c "^pi-adu" || true'), '0')
})

test('purged, nothing is left but the identity', () => {
  mkdirSync(at('var/lib/pi-adu-steps'), { recursive: true })
  dpkg('--purge pi-adu-agent')
  const found = wellInside(
    'find / -xdev \\( -name "*pi-adu*" -o -path "*/adu/*" -o -name adu \\) -not -path "/home/*" | sort',
  )
  assert.deepEqual(found.split('\n'), [
    '/etc/adu',
    '/etc/adu/du-config.json',
    '/var/lib/adu',
    '/var/lib/adu/identity',
    '/var/lib/adu/identity/assignment.json',
  ])
})
