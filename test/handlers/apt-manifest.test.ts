import assert from 'node:assert/strict'
import test from 'node:test'
import { AgentError } from '../../src/domain/errors.ts'
import { MAX_APT_MANIFEST_BYTES, readAptManifest } from '../../src/handlers/apt/apt-manifest.ts'

type Fields = Record<string, unknown>

const GOOD = { name: 'contoso-edge', version: '1.0.0.0', packages: [{ name: 'thermocontrol', version: '1.0.1' }] }

const read = (changes: Fields = {}) => readAptManifest(Buffer.from(JSON.stringify({ ...GOOD, ...changes })))
const packages = (...given: unknown[]) => read({ packages: given }).packages

function refusal(work: () => unknown): string {
  try {
    work()
  } catch (error) {
    assert.ok(error instanceof AgentError, String(error))
    return `${error.code}: ${error.message}`
  }
  return assert.fail('was read')
}

test('names, versions and removals, in the order of the file', () => {
  const list = packages(
    { name: 'g++', version: '4:12.2.0-3~bpo1+1' },
    { name: 'foo-' },
    { name: 'libc6:arm64', more: 1 },
  )
  assert.deepEqual(list, [
    { name: 'g++', version: '4:12.2.0-3~bpo1+1', remove: false },
    { name: 'foo', remove: true },
    { name: 'libc6:arm64', remove: false },
  ])
  assert.deepEqual(read({ unknown: {} }), {
    ...GOOD,
    packages: [{ ...GOOD.packages[0], remove: false }],
    agentRestartRequired: false,
  })
})

test('the file may come from another system: byte order mark, UTF-16', () => {
  const text = JSON.stringify(GOOD)
  for (const bytes of [Buffer.from(`\uFEFF${text}`), Buffer.from(`\uFEFF${text}`, 'utf16le')]) {
    assert.equal(readAptManifest(bytes).name, GOOD.name)
  }
})

test('the agent is restarted when the manifest says so, or when an agent is among the packages', () => {
  for (const [changes, restart] of [
    [{}, false],
    [{ agentRestartRequired: false }, false],
    [{ agentRestartRequired: true }, true],
    [{ packages: [{ name: 'pi-adu-agent' }] }, true],
    [{ packages: [{ name: 'zsh' }, { name: 'deviceupdate-agent-dev', version: '1' }] }, true],
  ] as const) {
    assert.equal(read(changes).agentRestartRequired, restart, JSON.stringify(changes))
  }
})

test('a file that is not an APT manifest', () => {
  for (const [bytes, why] of [
    ['', /is not JSON/],
    ['{"name":"a","name":"b"}', /has the member "name" twice/],
    ['[]', /name is missing/],
    ['null', /must be an object/],
    [Buffer.from([0xff, 0xd8, 0xff]), /is not UTF-8/],
    [Buffer.alloc(MAX_APT_MANIFEST_BYTES + 1, ' '), /is larger than 262144 bytes/],
  ] as const) {
    assert.match(
      refusal(() => readAptManifest(Buffer.from(bytes as string))),
      new RegExp(`^APT_MANIFEST_BAD: .*${why.source}`),
    )
  }
  for (const [changes, why] of [
    [{ name: undefined }, /name is missing$/],
    [{ version: 1 }, /version must be text$/],
    [{ name: '' }, /name must have 1 to 128/],
    [{ name: 'a\nb' }, /name must have 1 to 128/],
    [{ packages: undefined }, /packages is missing$/],
    [{ packages: {} }, /packages must be a list$/],
    [{ packages: [] }, /packages has no entry$/],
    [{ packages: ['zsh'] }, /packages\.0 must be an object$/],
    [{ packages: [{}] }, /packages\.0\.name is missing$/],
    [{ packages: [{ name: 'zsh', version: 5 }] }, /packages\.0\.version must be text$/],
    [{ packages: Array.from({ length: 1001 }, (_, n) => ({ name: `p${n}` })) }, /packages has more than 1000 entries$/],
    [
      { packages: Array.from({ length: 10_000 }, (_, n) => ({ name: `p${n}` })) },
      /packages has more than 1000 entries$/,
    ],
    [{ agentRestartRequired: 'no' }, /agentRestartRequired must be true or false$/],
  ] as const) {
    assert.match(
      refusal(() => read(changes)),
      new RegExp(`^APT_MANIFEST_BAD: the APT manifest: ${why.source}`),
      JSON.stringify(changes).slice(0, 80),
    )
  }
})

test('no name or version can be an option, a pattern, a path or a word of a shell', () => {
  const names = [
    ...[
      '',
      '-',
      '--',
      '-y',
      '--force-yes',
      '-oDpkg::Pre-Invoke=id',
      'a',
      'a-',
      'zsh=1',
      'zsh/stable',
      'zsh^',
      'zsh*',
      'z?h',
      '?essential',
    ],
    ...[
      '~nzsh',
      './evil.deb',
      '/tmp/evil.deb',
      'zsh;id',
      'zsh id',
      '$(id)',
      '`id`',
      "zsh'",
      'zsh"',
      'zsh\n',
      'zsh\0',
      'Zsh',
      'zsh&&id',
      'zsh|id',
    ],
    ...[
      'zsh:any',
      'zsh:native',
      'zsh:',
      ':arm64',
      'zsh:-',
      'zsh:arm64:arm64',
      'zsh:ARM',
      'zѕh',
      'a'.repeat(129),
      '+zsh',
      '.zsh',
      'zsh>x',
      '%i',
      'zsh:../x',
    ],
  ]
  for (const name of names) {
    assert.match(
      refusal(() => packages({ name: 'ok' }, { name })),
      /^APT_PACKAGE_BAD: .*packages\.1: .*is not the name/,
      name,
    )
  }
  const versions = [
    '',
    ' ',
    '1 ',
    '1;id',
    '$(id)',
    '1*',
    '1/stable',
    '-y\n',
    '1\0',
    '=1',
    '1=2',
    '1_2',
    '1'.repeat(129),
    '1"',
    "1'",
  ]
  for (const version of versions) {
    assert.match(
      refusal(() => packages({ name: 'zsh', version })),
      /^APT_PACKAGE_BAD: .*is not a Debian version/,
      version,
    )
  }
})

test('each package is named once, and what is removed has no version', () => {
  assert.match(
    refusal(() => packages({ name: 'zsh' }, { name: 'ok' }, { name: 'zsh' })),
    /packages\.2: zsh is in the list already, as entry 0$/,
  )
  assert.match(
    refusal(() => packages({ name: 'zsh', version: '1' }, { name: 'zsh-' })),
    /packages\.1: zsh is in the list already/,
  )
  assert.match(
    refusal(() => packages({ name: 'zsh-', version: '1' })),
    /zsh is to be removed, so it cannot have a version$/,
  )
})
