import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, cpSync, existsSync, mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { buildDeb } from '../../image/builder/deb.ts'
import { repositoryRoot } from '../../image/builder/repository.ts'
import { aptStep } from '../bench/authoring/steps.ts'
import { type Bench, startBench } from '../bench/bench.ts'
import { checkAptDeployment, checkAptSteps } from './apt-steps.ts'
import { checkOwnUpgrade, publishDeb } from './own-upgrade.ts'
import type { Reported } from './reported.ts'
import { type Booted, checkStepUnits } from './step-units.ts'

// Run by scripts/test --debian13 after package.test.ts: the package on a Debian 13 whose own systemd runs, against the bench.

const fresh = process.env.FRESH_ROOT ?? assert.fail('run scripts/test --debian13')
const home = mkdtempSync(join(tmpdir(), 'booted-'))
const at = (path: string): string => join(fresh, path)
const ID = 'debian1'
const PATIENCE = 120_000
/** Where processes of the system are grouped. */
const groups = spawnSync('findmnt', ['-n', '--first-only', '-t', 'cgroup2', '-o', 'TARGET'], {
  encoding: 'utf8',
}).stdout.trim()
const options = { skip: groups === '' && 'this machine has no control groups of version 2' }
/** What these tests replace in the root; the tests after them need it as it was. */
const REPLACED = ['etc/apt', 'etc/hosts']
let bench: Bench
let machine: ChildProcess
/** The PID of the system's systemd. */
let leader = ''

before(async () => {
  if (options.skip) return
  const install = 'apt-get -qq --yes --no-install-recommends install systemd-sysv dbus polkitd'
  const into = [fresh, 'sh', '-c', `apt-get -qq update && DEBIAN_FRONTEND=noninteractive ${install}`]
  const made = spawnSync(join(repositoryRoot(), 'scripts/lib/in-root'), into, { encoding: 'utf8' })
  assert.equal(made.status, 0, made.stderr)
  for (const path of REPLACED) copy(at(path), join(home, 'kept', path))
  writeFileSync(at('etc/hosts'), '127.0.0.1 localhost\n')
  // What the test before has left on purpose.
  for (const folder of ['etc/adu', 'var/lib/adu']) rmSync(at(folder), { recursive: true, force: true })
  bench = await startBench({ stateDir: join(home, 'bench') })
  bench.hub.createDevice(ID)
  // It ends with this process, however that ends.
  const boot = ['--pdeathsig', 'KILL', join(repositoryRoot(), 'scripts/lib/boot-root'), fresh]
  machine = spawn('setpriv', boot, { stdio: ['ignore', 'ignore', 'inherit'] })
  await until('the system has booted', () => {
    leader = readFileSync(`/proc/${machine.pid}/task/${machine.pid}/children`, 'utf8').trim()
    return leader !== '' && /running|degraded/.test(inside('systemctl is-system-running').said)
  })
})
after(async () => {
  if (options.skip) return
  if (machine.exitCode === null) {
    const ended = once(machine, 'exit')
    machine.kill('SIGKILL')
    await ended
  }
  await forgetGroups(machine.pid)
  for (const path of REPLACED) copy(join(home, 'kept', path), at(path))
  await bench.stop()
  rmSync(home, { recursive: true })
})

/** Makes `to` what `from` is, also if that is nothing. */
function copy(from: string, to: string): void {
  rmSync(to, { recursive: true, force: true })
  if (existsSync(from)) cpSync(from, to, { recursive: true, verbatimSymlinks: true, preserveTimestamps: true })
}

/** In the booted system, as root; both outputs together. */
function inside(command: string): { status: number | null; said: string } {
  const environment = ['env', '-i', 'PATH=/usr/sbin:/usr/bin', 'HOME=/root', 'DEBIAN_FRONTEND=noninteractive']
  const argv = ['--target', leader, '--all', '--', ...environment, 'sh', '-c', command]
  const { status, stdout, stderr } = spawnSync('nsenter', argv, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  return { status, said: `${stdout}${stderr}`.trim() }
}

const booted: Booted = { at: path => `/proc/${leader}/root${path}`, inside }

function wellInside(command: string): string {
  const { status, said } = inside(command)
  assert.equal(status, 0, said)
  return said
}

async function until(what: string, look: () => boolean): Promise<void> {
  for (const limit = Date.now() + PATIENCE; Date.now() < limit; await sleep(200)) if (look()) return
  assert.fail(`waited in vain: ${what}\n${inside('journalctl --no-pager -n 40').said}`)
}

const build = (version: string): Promise<string> =>
  buildDeb({ version, maintainer: 'Contoso <pi@contoso.example>', epoch: 1_700_000_000, output: home })

async function install(version: string): Promise<void> {
  copyFileSync(await build(version), at('var/tmp/agent.deb'))
  wellInside('apt-get -qq --yes --no-install-recommends install /var/tmp/agent.deb')
}

const stateOf = (unit: string): string => inside(`systemctl show --property ActiveState --value ${unit}`).said
const agentPid = (): string => wellInside('systemctl show --property MainPID --value pi-adu-agent')

function configuration(): string {
  const names = { manufacturer: 'contoso', model: 'workbench' }
  const connectionSource = { connectionType: 'string', connectionData: bench.hub.deviceConnectionString(ID) }
  return JSON.stringify({
    schemaVersion: '1.1',
    ...names,
    agents: [{ name: 'main', ...names, connectionSource }],
    piAdu: {
      hub: { caFile: '/etc/adu/ca.pem' },
      content: { caFile: '/etc/adu/ca.pem', allowedHosts: ['*', 'localhost'] },
      diagnostics: { allowedHosts: ['localhost'] },
      trust: { rootKeys: bench.authority.rootKeyJwks },
    },
  })
}

test('without a configuration nothing runs; with one the agent connects, as a user of its own', options, async () => {
  await install('0.1.0')
  wellInside('systemctl start pi-adu-agent')
  assert.equal(stateOf('pi-adu-agent'), 'inactive')
  assert.equal(stateOf('pi-adu-steps.socket'), 'active')
  assert.equal(wellInside('stat -c "%U %G %a" /run/pi-adu-steps/socket'), 'root adu 660')
  copyFileSync(bench.hub.caFile, at('etc/adu/ca.pem'))
  writeFileSync(at('etc/adu/du-config.json'), configuration())
  wellInside('chmod 640 /etc/adu/*; chgrp adu /etc/adu/*; systemctl start pi-adu-agent')
  await bench.hub.waitForReported(ID, isReady, { timeoutMs: PATIENCE, what: 'the startup report' })
  assert.equal(stateOf('pi-adu-agent'), 'active')
  assert.equal(wellInside(`stat -c %U /proc/${agentPid()}`), 'adu')
})

const agent = () => (bench.hub.getTwin(ID).properties.reported as Reported).deviceUpdate?.agent
const isReady = (): boolean => agent() !== undefined

test('the logs are collected from within the unit: the agent may read its own journal', options, async () => {
  const service = { operationId: 'op-1', storageSasUrl: bench.hub.blobs.url() }
  bench.hub.updateDesired(ID, { diagnosticInformation: { __t: 'c', service } })
  type Answer = { readonly operationId: string; readonly resultCode: number }
  const answer = () => (bench.hub.getTwin(ID).properties.reported.diagnosticInformation as { agent?: Answer })?.agent
  const isThere = (): boolean => answer()?.operationId === 'op-1'
  await bench.hub.waitForReported(ID, isThere, { timeoutMs: PATIENCE, what: 'the answer' })
  assert.equal(answer()?.resultCode, 200)
  const bundle = await bench.hub.blobs.read(`${ID}/op-1/pi-adu/support.tar.gz`)
  const log = spawnSync('tar', ['-xzO', '--wildcards', '*/log/agent.log'], { input: bundle, encoding: 'utf8' })
  assert.match(log.stdout, /hub\.connected/, log.stderr)
})

/** Waits for the final report of a deployment. */
async function reported(id: string): Promise<void> {
  const isEnded = () => agent()?.workflow?.id === id && agent()?.state !== 6
  await bench.hub.waitFor(isEnded, { timeoutMs: PATIENCE, what: 'the report' })
}

test('status and doctor say that there are no slots, and nothing fails', options, () => {
  assert.match(wellInside('pi-adu status'), /^slots +none: this device takes packages and scripts, no images$/m)
  const { said } = inside('pi-adu doctor')
  assert.match(said, /none: this device takes packages and scripts/)
  assert.doesNotMatch(said, /^fail/m, said)
})

test('an image is refused with one sentence, and nothing is downloaded', options, async () => {
  const file = join(home, 'image.swu')
  writeFileSync(file, 'never looked at')
  const update = await bench.importBundle(file, '2.0.0')
  const id = bench.deploy(ID, update)
  await reported(id)
  assert.equal(agent()?.lastInstallResult?.extendedResultCodes, '30000003')
  assert.match(agent()?.lastInstallResult?.resultDetails ?? '', /no A\/B slots and takes no images/)
  assert.deepEqual(Object.keys(bench.content.stats), [])
})

test(
  'a step runs in a unit of its own, as its user; nothing of it is left, not even if the step service is killed',
  options,
  () => checkStepUnits(booted),
)

test('an apt step installs a package as root, with its maintainer script, and stores its criteria', options, () =>
  checkAptSteps(booted),
)

test(
  'deployments of packages: installed, skipped where they are there already; and the list goes on in the agent that it has upgraded',
  options,
  async () => checkAptDeployment(booted, bench, ID, await build('0.1.0.1')),
)

test('an apt step upgrades this very package: it ends well, and nothing is restarted under it', options, async () => {
  // Only the repository of the step is asked.
  wellInside('rm -rf /etc/apt/sources.list.d/*')
  const deb = await build('0.1.1')
  await checkOwnUpgrade(booted, deb, '0.1.1')
})

test(
  'a deployment upgrades the agent that carries it out; the new one reports that it is installed',
  options,
  async () => {
    const version = '0.1.2'
    publishDeb(booted.at, await build(version), version)
    writeFileSync(at('etc/pi-adu/steps.json'), JSON.stringify({ rootKeys: bench.authority.rootKeyJwks }))
    wellInside('systemctl stop pi-adu-steps.service')
    const before = agentPid()
    const list = { name: 'agent', version, packages: [{ name: 'pi-adu-agent', version }], agentRestartRequired: true }
    const file = join(home, 'agent.json')
    writeFileSync(file, JSON.stringify(list))
    const id = bench.deploy(ID, await bench.importSteps('3.0.0', [aptStep(file, `agent-${version}`)]))
    await reported(id)
    assert.equal(agent()?.lastInstallResult?.resultCode, 700, JSON.stringify(agent()?.lastInstallResult))
    assert.equal(wellInside('dpkg-query --show pi-adu-agent'), `pi-adu-agent\t${version}`)
    assert.notEqual(agentPid(), before)
    assert.match(wellInside('journalctl --no-pager -u pi-adu-agent'), /"event":"agent.stopped"/)
  },
)

test('an upgrade restarts the agent, and it connects again', options, async () => {
  // A step service that only waits keeps nothing from it.
  wellInside('systemctl start pi-adu-steps.service')
  const before = agentPid()
  await install('0.1.3')
  await until('another process', () => !['0', before].includes(agentPid()))
  await bench.hub.waitForConnected(ID, { timeoutMs: PATIENCE })
})

test('an agent that its owner has disabled stays so in an upgrade', options, async () => {
  wellInside('systemctl disable --now pi-adu-agent')
  await install('0.1.4')
  assert.equal(stateOf('pi-adu-agent'), 'inactive')
  assert.match(inside('systemctl is-enabled pi-adu-agent').said, /^disabled/)
})

test('purged, the agent has ended, and nothing is left but the identity', options, async () => {
  wellInside('systemctl enable --now pi-adu-agent')
  await bench.hub.waitForConnected(ID, { timeoutMs: PATIENCE })
  wellInside('apt-get -qq --yes purge pi-adu-agent')
  assert.equal(wellInside('find /proc -maxdepth 1 -user adu'), '')
  const found = wellInside('find /etc /usr /var /run -xdev \\( -name "*pi-adu*" -o -path "*/adu/*" \\) | sort')
  assert.deepEqual(found.split('\n'), ['/etc/adu/ca.pem', '/etc/adu/du-config.json'])
})

/** The control groups of a system that has ended, the innermost first. */
async function forgetGroups(pid: number | undefined): Promise<void> {
  const top = join(groups, `pi-adu-boot-${pid}`)
  for (const limit = Date.now() + 10_000; Date.now() < limit; await sleep(100)) {
    const folders = spawnSync('find', [top, '-depth', '-type', 'd'], { encoding: 'utf8' }).stdout.trim()
    if (folders === '') return
    for (const folder of folders.split('\n')) {
      try {
        rmdirSync(folder)
      } catch {
        // Its processes are still ending.
      }
    }
  }
}
