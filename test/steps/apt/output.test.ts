import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import test from 'node:test'
import { repositoryRoot } from '../../../image/builder/repository.ts'
import { readAptManifest } from '../../../src/handlers/apt/apt-manifest.ts'
import { downloadCommand, installCommand, planCommand, stateCommand } from '../../../src/steps/apt/commands.ts'
import { CRITERIA_FILE, hasCriteria, readCriteria, withCriteria } from '../../../src/steps/apt/criteria.ts'
import { judge, lastLines, readPlan, readStatus, updateFlaw } from '../../../src/steps/apt/output.ts'
import { spaceLack } from '../../../src/steps/apt/space.ts'
import { differences, readStates } from '../../../src/steps/apt/states.ts'

const manifest = (...packages: readonly object[]) =>
  readAptManifest(Buffer.from(JSON.stringify({ name: 'edge', version: '1', packages })))

const LIST = manifest({ name: 'zsh', version: '5.9-4' }, { name: 'vim' }, { name: 'nano-' }, { name: 'libc6:arm64' })

test('commands: the packages come last, in order, behind the end of the options', () => {
  const terms = { lockSeconds: 60, allowDowngrade: false, status: true }
  for (const command of [planCommand, downloadCommand, installCommand]) {
    const words = command(LIST, terms)
    const end = words.indexOf('--')
    assert.deepEqual(words.slice(0, 3), ['apt-get', '-q', '-y'])
    assert.deepEqual(words.slice(end + 1), ['zsh=5.9-4', 'vim', 'nano-', 'libc6:arm64'])
    assert.ok(words.indexOf('install') < end && words.includes('DPkg::Lock::Timeout=60'))
    assert.ok(words.includes('APT::Cmd::Pattern-Only=true') && words.includes('APT::Status-Fd=1'))
    assert.ok(!words.includes('--allow-downgrades'))
    assert.ok(command(LIST, { ...terms, allowDowngrade: true }).includes('--allow-downgrades'))
    // Without a pseudoterminal apt would close the standard output of maintainer scripts.
    assert.ok(!command(LIST, { ...terms, status: false }).includes('APT::Status-Fd=1'))
  }
  const install = installCommand(LIST, terms).join(' ')
  assert.match(install, /-o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold/)
  assert.deepEqual(stateCommand(LIST).slice(-5), ['--', 'zsh', 'vim', 'nano', 'libc6:arm64'])
})

test('status lines', () => {
  for (const [line, expected] of [
    ['dlstatus:1:20.8200:Retrieving file 1 of 1', ['download', 20.82, 'Retrieving file 1 of 1']],
    ['pmstatus:dpkg-exec:28.5714:Running dpkg', ['install', 28.5714, 'Running dpkg']],
    ['pmstatus:libc6:arm64:50.0000:Unpacking libc6:arm64', ['install', 50, 'Unpacking libc6:arm64']],
    ['pmerror:/var/cache/a:b.deb:20.0000:failed: no', ['error', 20, 'failed: no']],
    ['pmstatus:x:250.0:odd', ['install', 100, 'odd']],
    ['Setting up zsh (5.9-4) ...', undefined],
    ['pmstatus:x', undefined],
    ['pmstatus:x:-1:y', undefined],
  ] as const) {
    const status = readStatus(line)
    assert.deepEqual(status && [status.is, status.percent, status.text], expected, line)
  }
})

test('plans: what is removed and downgraded, and the bytes', () => {
  const plan = readPlan([
    ...['Reading package lists...', 'The following packages will be REMOVED:', '  nano* rival', '  third:armhf'],
    ...[
      'The following NEW packages will be installed:',
      '  zsh',
      'The following packages will be DOWNGRADED:',
      '  vim',
    ],
    ...[
      '0 upgraded, 1 newly installed, 1 downgraded, 3 to remove and 0 not upgraded.',
      'Need to get 1,234 kB of archives.',
    ],
    ...['After this operation, 1,205 kB of additional disk space will be used.'],
    ...[
      "'http://host/pool/zsh_5%3a1_arm64.deb' zsh_5%3a1_arm64.deb 1200000 SHA256:00",
      "'http://host/vim.deb' ../vim.deb 34000 ",
    ],
  ])
  assert.deepEqual(plan, {
    removed: ['nano', 'rival', 'third:armhf'],
    downgraded: ['vim'],
    download: 1_234_000,
    files: ['zsh_5%3a1_arm64.deb'],
    unpacked: 1_205_000,
  })
  const none = { removed: [], downgraded: [], files: [], download: 0, unpacked: 0 }
  assert.deepEqual(readPlan(['After this operation, 102 kB disk space will be freed.']), none)
  assert.deepEqual(readPlan([]), none)
  assert.equal(readPlan(['After this operation, 1.5 GB of additional disk space will be used.']).unpacked, 1.5e9)
})

test('space: two file systems or one, with a margin; what cannot be looked at is not compared', () => {
  const plan = { removed: [], downgraded: [], files: [], download: 10e6, unpacked: 30e6 }
  const space = (folder: string, free: number, fileSystem: number) => ({ folder, free, fileSystem })
  const lack = (archives: number, system: number, other = 2) =>
    spaceLack(plan, space('/cache', archives, 1), space('/usr', system, other))
  assert.equal(lack(26e6, 46e6), undefined)
  assert.match(lack(25.9e6, 46e6) ?? '', /^the packages need 26\.0 MB in \/cache, which has 25\.9 MB free$/)
  assert.match(lack(26e6, 45.9e6) ?? '', /^the packages need 46\.0 MB in \/usr/)
  assert.match(lack(50e6, 50e6, 1) ?? '', /^the packages need 56\.0 MB in \/usr/)
  assert.equal(spaceLack(plan, undefined, undefined), undefined)
  assert.equal(spaceLack({ ...plan, download: 0, unpacked: 0 }, space('/cache', 0, 1), space('/usr', 0, 1)), undefined)
})

test('how apt ended', () => {
  const DPKG = 'E: Sub-process /usr/bin/dpkg returned an error code (1)'
  for (const [stage, lines, errors, expected] of [
    ['install', ['E: dpkg was interrupted, you must manually run ...'], [], 'interrupted'],
    [
      'plan',
      ['E: Unable to locate package a', 'E: Unable to locate package b'],
      [],
      'APT_DOWNLOAD: Unable to locate package a; Unable to locate package b',
    ],
    ['install', ['noise', DPKG], ['a: script failed'], 'APT_INSTALL: a: script failed'],
    ['install', ['noise', DPKG], [], 'APT_INSTALL: Sub-process /usr/bin/dpkg returned an error code (1)'],
    ['install', [], [], 'APT_INSTALL: failed with exit code 100'],
    [
      'install',
      [DPKG],
      ['cannot copy: failed to write (No space left on device)'],
      'APT_SPACE: cannot copy: failed to write (No space left on device)',
    ],
    [
      'download',
      ["E: You don't have enough free space in /var/cache/apt/archives/."],
      [],
      "APT_SPACE: You don't have enough free space in /var/cache/apt/archives/.",
    ],
    [
      'install',
      [
        'E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 7 (apt)',
        'E: Unable to acquire the dpkg frontend lock',
      ],
      [],
      'APT_LOCKED: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 7 (apt)',
    ],
    [
      'install',
      [
        'E: Could not open lock file /var/lib/dpkg/lock - open (13: Permission denied)',
        'E: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), are you root?',
      ],
      [],
      'APT_INSTALL: Could not open lock file /var/lib/dpkg/lock - open (13: Permission denied); Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), are you root?',
    ],
    [
      'plan',
      [
        'The following packages will be DOWNGRADED:',
        '  vim zsh',
        'E: Packages were downgraded and -y was used without --allow-downgrades.',
      ],
      [],
      'APT_DOWNGRADE: vim, zsh would be downgraded; packages.allowDowngrade in /etc/pi-adu/steps.json allows that',
    ],
    [
      'download',
      ['E: Essential packages were removed and -y was used without --allow-remove-essential.'],
      [],
      'APT_DOWNLOAD: Essential packages were removed and -y was used without --allow-remove-essential.',
    ],
  ] as const) {
    const outcome = judge(stage, { exitCode: 100, complaint: 'failed with exit code 100', tail: '' }, { lines, errors })
    assert.equal(outcome.is === 'failed' ? `${outcome.code}: ${outcome.why}` : outcome.is, expected)
  }
  const said = { lines: ['E: dpkg was interrupted', 'No space left on device'], errors: [] }
  assert.equal(judge('install', { exitCode: 0, tail: '' }, said).is, 'fine')
  const late = judge(
    'install',
    { signal: 'SIGKILL', timedOut: true, complaint: 'took too long', tail: '' },
    { lines: [], errors: [] },
  )
  assert.deepEqual(late, { is: 'failed', code: 'APT_TIMED_OUT', why: 'took too long' })
})

test('lists that could not be fetched are mentioned, whatever the exit code', () => {
  const fine = { exitCode: 0, tail: '' }
  const said = (...lines: readonly string[]) => ({ lines, errors: [] })
  assert.equal(updateFlaw(fine, said('Hit:1 http://host stable InRelease')), undefined)
  assert.equal(updateFlaw(fine, said('W: Target Packages is configured multiple times')), undefined)
  assert.equal(
    updateFlaw(fine, said('W: Failed to fetch http://host/InRelease  Could not connect', 'W: Some index files failed')),
    'Failed to fetch http://host/InRelease  Could not connect',
  )
  assert.equal(
    updateFlaw({ exitCode: 100, tail: '' }, said('W: GPG error', "E: The repository 'x' is not signed.")),
    "The repository 'x' is not signed.",
  )
  assert.equal(
    updateFlaw({ exitCode: 100, complaint: 'failed with exit code 100', tail: '' }, said()),
    'failed with exit code 100',
  )
})

test('what dpkg has, against what the manifest wants', () => {
  const state = (...lines: readonly string[]) => differences(LIST, readStates(lines))
  const fine = ['zsh\tarm64\t5.9-4\tinstalled\tok', 'vim\tarm64\t9\tinstalled\tok', 'libc6\tarm64\t2\tinstalled\tok']
  assert.deepEqual(state(...fine), [])
  assert.deepEqual(state(...fine, 'nano\tarm64\t7\tconfig-files\tok'), [])
  assert.deepEqual(state(...fine, 'nano\tarm64\t7\tinstalled\tok'), ['nano is 7, not removed'])
  assert.deepEqual(state(...fine.slice(1)), ['zsh is not installed'])
  for (const [line, words] of [
    ['zsh\tarm64\t5.8\tinstalled\tok', 'zsh is 5.8, not 5.9-4'],
    ['zsh\tarm64\t5.9-4\thalf-configured\tok', 'zsh is half-configured 5.9-4'],
    ['zsh\tarm64\t5.9-4\tinstalled\treinstreq', 'zsh is broken 5.9-4'],
    ['zsh\tarm64\t\thalf-installed\treinstreq', 'zsh is broken half-installed without a version, not 5.9-4'],
    ['zsh-doc\tall\t5.9-4\tinstalled\tok', 'zsh is not installed'],
    ['dpkg-query: no packages found matching zsh', 'zsh is not installed'],
  ] as const) {
    assert.deepEqual(state(...fine.slice(1), line), [words], line)
  }
  assert.deepEqual(state(...fine.slice(0, 2), 'libc6\tarmhf\t2\tinstalled\tok'), ['libc6:arm64 is not installed'])
  assert.deepEqual(state(...fine, 'libc6\tarmhf\t2\tinstalled\tok'), [])
})

test('criteria: of each manifest the newest', () => {
  const at = new Date('2026-01-02T03:04:05Z')
  const first = withCriteria([], 'edge', 'edge-1.0', at)
  assert.deepEqual(first, [
    { installedCriteria: 'edge-1.0', state: 'installed', timestamp: '2026-01-02T03:04:05.000Z', name: 'edge' },
  ])
  const others = withCriteria(withCriteria(first, 'edge-tools', 'edge-tools-1.0', at), 'odd', 'anything', at)
  const second = withCriteria(others, 'edge', 'edge-2.0', at)
  assert.deepEqual(
    [...second].map(each => each.installedCriteria),
    ['edge-tools-1.0', 'anything', 'edge-2.0'],
  )
  assert.ok(!hasCriteria(second, 'edge-1.0') && hasCriteria(second, 'edge-2.0'))
  const reference = readCriteria('[{"installedCriteria":"edge-1.0","state":"failed","timestamp":""}]')
  assert.ok(!hasCriteria(reference, 'edge-1.0'))
})

test('the unit of the step service lets it store the criteria', () => {
  const unit = readFileSync(join(repositoryRoot(), 'image/rootfs/etc/systemd/system/pi-adu-steps.service'), 'utf8')
  const paths = /^ReadWritePaths=(.*)$/m.exec(unit)?.[1]?.split(' ')
  assert.ok(paths?.includes(`-${dirname(CRITERIA_FILE)}`), paths?.join())
})

test('the last lines: whole ones, as many as fit, nothing that a terminal obeys', () => {
  assert.equal(
    lastLines(['Reading package lists...', 'first', '', 'second \u001b[31m', 'third']),
    'first / second \\u001b[31m / third',
  )
  assert.equal(lastLines(['a'.repeat(2000), 'b'], 50), 'b')
  assert.ok(Buffer.byteLength(lastLines(Array.from({ length: 1000 }, () => 'ä'.repeat(500)))) <= 1000)
})
