import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { repositoryRoot } from '../../image/builder/repository.ts'

// Run by scripts/test --debian13, which makes the root and its users: `owner` may use sudo, `guest` may not.

const fresh = process.env.FRESH_ROOT ?? assert.fail('run scripts/test --debian13')
/** What dpkg wants to install anything, and the hooks of the base system. */
const FEW = [
  ...[
    'base-files',
    'base-passwd',
    'coreutils',
    'dash',
    'diffutils',
    'dpkg',
    'findutils',
    'grep',
    'libc-bin',
    'sed',
    'tar',
  ],
  'systemd-standalone-sysusers',
]
const kept = 'http_proxy,https_proxy,no_proxy,NODE_EXTRA_CA_CERTS,CI'

/** As that user, in their checkout, without a terminal; both outputs together. */
function as(user: string, command: string): { status: number | null; said: string } {
  const su = ['su', '--login', `--whitelist-environment=${kept}`, user, '--command', `cd pi-adu-agent && ${command}`]
  const { status, stdout, stderr } = spawnSync(join(repositoryRoot(), 'scripts/lib/in-root'), [fresh, ...su], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  return { status, said: `${stdout}${stderr}` }
}

for (const verb of ['build-image', 'demo --qemu', 'test', 'run-qemu']) {
  test(`without sudo, ${verb} says at once whom to ask for what`, () => {
    const { status, said } = as('guest', `./scripts/${verb}`)
    assert.equal(status, 1)
    const last = said.trim().split('\n').at(-1)
    assert.match(last ?? '', /you may not use sudo here: ask an administrator for: apt-get install .*swupdate/)
    assert.doesNotMatch(said, /npm|…/)
  })
}

test('with sudo, everything that building the image needs is installed before the first long step', () => {
  const tools = '. scripts/lib/ensure && . scripts/lib/image-tools && ensure && ensure_image_tools'
  // `ensure` looks for the repository from the script that sources it.
  const { status, said } = as('owner', `sh -c '${tools}' scripts/any`)
  assert.equal(status, 0, said)
})

test('with sudo, packages of arm64 are unpacked without root, and their list comes out', () => {
  const build = [
    "import('./dist/image/builder/debian.js')",
    `.then(m => m.baseSystem('', 1760000000, ${JSON.stringify(FEW).replaceAll('"', "'")}))`,
    ".then(dir => process.stdout.write(require('node:fs').readFileSync(dir + '/versions.txt', 'utf8')))",
  ]
  const { status, said } = as('owner', `node -e "${build.join('')}"`)
  assert.equal(status, 0, said)
  assert.match(said, /^dpkg\t1\.22/m)
})

test('where nothing registered it, as in a container, arm64 is enabled', () => {
  // A user namespace has a binfmt_misc of its own since Linux 6.7.
  const script = [
    'mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc',
    '! arch-test arm64 >/dev/null',
    '. scripts/lib/ensure',
    '. scripts/lib/image-tools',
    'ensure_arm64',
    'arch-test arm64',
  ].join(' && ')
  const { status, said } = as('owner', `unshare --user --map-root-user --mount sh -c '${script}' scripts/any`)
  assert.equal(status, 0, said)
  assert.match(said, /arm64: ok/)
})
