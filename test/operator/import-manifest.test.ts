import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { checkManifest } from '../../src/operator/import-manifest/check.ts'
import { openBundleSigner } from '../bench/workbench/bundle-key.ts'
import { buildBundle } from '../bench/workbench/swu.ts'
import { encodings } from '../domain/encodings.ts'
import { operator } from './support.ts'

/** The published example's shape (PROTOCOL.md, "Import schema"), with one step. */
const good = () => ({
  $schema: 'https://json.schemastore.org/azure-deviceupdate-import-manifest-5.0.json',
  updateId: { provider: 'Contoso', name: 'Toaster', version: '1.0' },
  isDeployable: true,
  description: 'text',
  compatibility: [{ manufacturer: 'Contoso', model: 'Toaster' }],
  instructions: {
    steps: [
      {
        type: 'inline',
        description: 'text',
        handler: 'microsoft/swupdate:2',
        files: ['firmware.swu'],
        handlerProperties: { installedCriteria: '1.0', swuFileName: 'firmware.swu' },
      },
      { type: 'reference', updateId: { provider: 'Contoso', name: 'Sensor', version: '1.0' } },
    ],
  },
  files: [
    {
      filename: 'firmware.swu',
      sizeInBytes: 7558,
      hashes: { sha256: `${'A'.repeat(43)}=` },
      properties: {},
      relatedFiles: [
        {
          filename: 'd.diff',
          sizeInBytes: 99,
          hashes: { sha256: `${'B'.repeat(43)}=` },
          properties: { 'microsoft.sourceFileHash': 'x', 'microsoft.sourceFileHashAlgorithm': 'sha256' },
        },
      ],
      downloadHandler: { id: 'microsoft/delta:1' },
    },
  ],
  manifestVersion: '5.0',
  createdDateTime: '2022-01-19T06:23:52.6996916Z',
})

// biome-ignore lint/suspicious/noExplicitAny: the rows below break the manifest in every way
type Any = Record<string, any>

/** What is changed → what is found, as `level path message`. */
const ROWS: readonly (readonly [string, (manifest: Any) => void, RegExp])[] = [
  ['no version', m => delete m.manifestVersion, /^error manifestVersion is undefined; known are/],
  ['version 3', m => (m.manifestVersion = '3.0'), /^error manifestVersion is "3.0"/],
  ['a provider with a blank', m => (m.updateId.provider = 'Con toso'), /^error updateId\.provider may have letters/],
  ['a provider of 65', m => (m.updateId.provider = 'x'.repeat(65)), /^error updateId\.provider must have 1 to 64/],
  ['a version of one number', m => (m.updateId.version = '1'), /^error updateId\.version must be 2 to 4 numbers/],
  ['a version of five numbers', m => (m.updateId.version = '1.2.3.4.5'), /^error updateId\.version/],
  [
    'a version that is too high',
    m => (m.updateId.version = '1.2147483648'),
    /^error updateId\.version has a number above/,
  ],
  ['a leading zero', m => (m.updateId.version = '1.02'), /^warning updateId\.version leading zeros/],
  ['another key in updateId', m => (m.updateId.vendor = 'x'), /^error updateId\.vendor is not known here/],
  ['isDeployable as text', m => (m.isDeployable = 'yes'), /^error isDeployable must be true or false/],
  ['a child with references', m => (m.isDeployable = false), /^error isDeployable an update that only others/],
  ['an empty description', m => (m.description = ''), /^error description must have 1 to 512/],
  ['no compatibility', m => delete m.compatibility, /^error compatibility is missing/],
  ['empty compatibility', m => (m.compatibility = []), /^error compatibility must have at least 1 entry/],
  ['compatibility without a pair', m => (m.compatibility = [{}]), /^error compatibility\.0 must have 1 to 5/],
  [
    'eleven compatibilities',
    m => (m.compatibility = Array(11).fill({ a: 'b' })),
    /^error compatibility must have at most 10/,
  ],
  [
    'a long compatibility value',
    m => (m.compatibility[0].model = 'x'.repeat(65)),
    /^error compatibility\.0\.model must have 1 to 64/,
  ],
  ['no step', m => (m.instructions.steps = []), /^error instructions\.steps must have at least 1/],
  [
    'a step type that is none',
    m => (m.instructions.steps[0].type = 'other'),
    /^error instructions\.steps\.0\.type must be "inline"/,
  ],
  [
    'a step without a handler',
    m => delete m.instructions.steps[0].handler,
    /^error instructions\.steps\.0\.handler is missing/,
  ],
  [
    'a handler without a version',
    m => (m.instructions.steps[0].handler = 'microsoft/swupdate'),
    /^error instructions\.steps\.0\.handler must be like/,
  ],
  [
    'a handler of nobody',
    m => (m.instructions.steps[0].handler = 'contoso/foo:1'),
    /^warning instructions\.steps\.0\.handler .*is not a handler/,
  ],
  [
    'a file that is not listed',
    m => (m.instructions.steps[0].files = ['x.swu']),
    /^error instructions\.steps\.0\.files\.0 "x.swu" is not in files/,
  ],
  [
    'no criteria',
    m => delete m.instructions.steps[0].handlerProperties.installedCriteria,
    /installedCriteria is missing: no device/,
  ],
  ['no swuFileName', m => delete m.instructions.steps[0].handlerProperties.swuFileName, /swuFileName is missing/],
  [
    'a foreign swuFileName',
    m => (m.instructions.steps[0].handlerProperties.swuFileName = 'x'),
    /"x" is not one of the step's files/,
  ],
  [
    'a script',
    m => (m.instructions.steps[0].handlerProperties.scriptFileName = 'firmware.swu'),
    /^warning .*scriptFileName the script installs the image in place of the agent/,
  ],
  [
    'a step without properties',
    m => delete m.instructions.steps[0].handlerProperties,
    /^error instructions\.steps\.0\.handlerProperties is missing: devices refuse/,
  ],
  [
    'packages in two files',
    m => {
      m.instructions.steps[0].handler = 'microsoft/apt:1'
      m.instructions.steps[0].files.push('other')
    },
    /^error instructions\.steps\.0\.files microsoft\/apt:1 takes exactly one file/,
  ],
  [
    'a script without a name',
    m => (m.instructions.steps[0].handler = 'microsoft/script:1'),
    /^error instructions\.steps\.0\.handlerProperties\.scriptFileName is missing/,
  ],
  [
    'arguments as a list',
    m =>
      Object.assign(m.instructions.steps[0].handlerProperties, {
        scriptFileName: 'firmware.swu',
        arguments: ['--pre'],
      }),
    /^error .*handlerProperties\.arguments must be a text/,
  ],
  [
    'an interface of scripts that does not exist',
    m => Object.assign(m.instructions.steps[0].handlerProperties, { scriptFileName: 'firmware.swu', apiVersion: '2' }),
    /^error .*handlerProperties\.apiVersion must be "1\.0" or "1\.1"/,
  ],
  [
    'a file with the name of the result of a script',
    m => {
      m.files[0].filename = 'action_install_aduc_result.json'
      m.instructions.steps[0].files = ['action_install_aduc_result.json']
      m.instructions.steps[0].handler = 'microsoft/script:1'
      m.instructions.steps[0].handlerProperties.scriptFileName = 'action_install_aduc_result.json'
    },
    /^error instructions\.steps\.0 is one that devices refuse: a file of the step has the name of the script's result/,
  ],
  [
    'endless arguments',
    m => {
      m.instructions.steps[0].handler = 'microsoft/script:1'
      Object.assign(m.instructions.steps[0].handlerProperties, {
        scriptFileName: 'firmware.swu',
        arguments: 'x'.repeat(70_000),
      })
    },
    /^error instructions\.steps\.0 is one that devices refuse: arguments is longer than 64 KiB/,
  ],
  [
    'packages before an image',
    m =>
      m.instructions.steps.unshift({
        handler: 'microsoft/apt:1',
        files: ['firmware.swu'],
        handlerProperties: { installedCriteria: 'x-1' },
      }),
    /^warning instructions\.steps\.0 its packages are not in the system that a later step installs/,
  ],
  [
    'two steps with one text',
    m => m.instructions.steps.push(m.instructions.steps[0]),
    /^warning instructions\.steps\.2\.handlerProperties\.installedCriteria is that of an earlier step/,
  ],
  [
    'eleven steps',
    m => (m.instructions.steps = Array(11).fill(m.instructions.steps[0])),
    /^error instructions\.steps must have at most 10/,
  ],
  [
    'a step with eleven files',
    m => (m.instructions.steps[0].files = Array(11).fill('firmware.swu')),
    /^error instructions\.steps\.0\.files must have at most 10/,
  ],
  ['eleven files', m => (m.files = Array(11).fill(m.files[0])), /^error files must have at most 10/],
  [
    'a long description of a step',
    m => (m.instructions.steps[0].description = 'x'.repeat(65)),
    /^error instructions\.steps\.0\.description must have 1 to 64/,
  ],
  [
    'one reference twice',
    m => m.instructions.steps.push(m.instructions.steps[1]),
    /^error instructions\.steps\.2\.updateId is that of an earlier step/,
  ],
  [
    'a name that looks like an option',
    m => (m.files[0].filename = m.instructions.steps[0].files[0] = '-rf'),
    /^error files\.0\.filename "-rf" is a name that devices refuse/,
  ],
  [
    'a related name that looks like an option',
    m => (m.files[0].relatedFiles[0].filename = '-d'),
    /^error files\.0\.relatedFiles\.0\.filename "-d" is a name that devices refuse/,
  ],
  [
    'related files without a handler',
    m => delete m.files[0].downloadHandler,
    /^error files\.0\.downloadHandler is missing/,
  ],
  [
    'a handler without related files',
    m => delete m.files[0].relatedFiles,
    /^warning files\.0\.downloadHandler does nothing/,
  ],
  [
    'a delta from nothing',
    m => (m.files[0].relatedFiles[0].properties = {}),
    /^warning files\.0\.relatedFiles\.0\.properties has no microsoft\.sourceFileHash: no device/,
  ],
  [
    'a reference with files',
    m => (m.instructions.steps[1].files = []),
    /^error instructions\.steps\.1\.files is not known here/,
  ],
  ['a reference to itself', m => (m.instructions.steps[1].updateId.name = 'Toaster'), /refers to itself/],
  ['a path for a name', m => (m.files[0].filename = '../x'), /^error files\.0\.filename must be a plain file name/],
  ['a file of nothing', m => (m.files[0].sizeInBytes = 0), /^error files\.0\.sizeInBytes must be at least 1/],
  ['a file above 2 GiB', m => (m.files[0].sizeInBytes = 2147483649), /^error files\.0\.sizeInBytes must be at most/],
  [
    'a hash in hexadecimal',
    m => (m.files[0].hashes.sha256 = 'ab'.repeat(32)),
    /^error files\.0\.hashes\.sha256 must be a SHA-256 in base64/,
  ],
  ['three hashes', m => Object.assign(m.files[0].hashes, { sha512: 'x', md5: 'y' }), /may have one more hash/],
  [
    'files that are too much together',
    m => (m.files[0].relatedFiles[0].sizeInBytes = 2147483648),
    /^error files are 2147491206 bytes together/,
  ],
  ['a file in no step', m => m.files.push({ ...m.files[0], filename: 'y' }), /^warning files\.1 "y" is in no step/],
  ['a file twice', m => m.files.push(m.files[0]), /^error files\.1\.filename "firmware.swu" is there twice/],
  [
    'five related files',
    m => (m.files[0].relatedFiles = Array(5).fill(m.files[0].relatedFiles[0])),
    /relatedFiles must have at most 4/,
  ],
  ['a local time', m => (m.createdDateTime = '2022-01-19 06:23'), /^error createdDateTime must be a time like/],
  [
    'the criteria of the Azure CLI',
    m => (m.updateId.version = '2.0'),
    /^warning .*installedCriteria is "1\.0", and the update's version is "2\.0".*the Azure CLI writes "1\.0"/,
  ],
  ['a mistyped name', m => (m.compatability = []), /^error compatability is not known here/],
  [
    'version 4 with what came with 5',
    m => (m.manifestVersion = '4.0'),
    /^error files\.0\.(properties|relatedFiles) came with version 5\.0/,
  ],
]

describe('checkManifest', () => {
  test('finds nothing in a good one', () => assert.deepEqual(checkManifest(good()), []))
  test('finds nothing in a good one of version 4', () => {
    const manifest: Any = { ...good(), manifestVersion: '4.0' }
    manifest.files = manifest.files.map(({ filename, sizeInBytes, hashes }: Any) => ({ filename, sizeInBytes, hashes }))
    assert.deepEqual(checkManifest(manifest), [])
  })
  for (const [name, change, expected] of ROWS) {
    test(`${name}: ${expected.source}`, () => {
      const manifest = good()
      change(manifest)
      const found = checkManifest(manifest).map(({ level, path, message }) => `${level} ${path} ${message}`)
      assert.ok(
        found.some(line => expected.test(line)),
        JSON.stringify(found),
      )
    })
  }
  for (const nothing of [null, [], 'text', 7]) {
    test(`${JSON.stringify(nothing)} is no manifest`, () => assert.equal(checkManifest(nothing)[0]?.level, 'error'))
  }
})

describe('import-manifest', () => {
  let dir: string
  let bundle: string
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'manifest-'))
    bundle = join(dir, 'system.swu')
    await buildBundle(bundle, { tree: { version: '2.0.0' } }, await openBundleSigner(dir))
  })
  after(() => rm(dir, { recursive: true }))
  const usual = ['--provider', 'contoso', '--name', 'workbench', '--compat', 'manufacturer=contoso,model=workbench']

  test('create writes what check finds in order, and check sees when the bundle changes', async () => {
    const { exitCode, stderr, stdout } = await operator(
      ['import-manifest', 'create', '--bundle', bundle, ...usual],
      undefined,
      { cwd: dir },
    )
    assert.deepEqual([exitCode, stderr], [0, ''])
    assert.match(stdout, /written: contoso\.workbench\.2\.0\.0\.importmanifest\.json$/)
    const file = join(dir, 'contoso.workbench.2.0.0.importmanifest.json')
    const manifest = JSON.parse(await readFile(file, 'utf8'))
    assert.deepEqual(manifest.instructions.steps[0].handlerProperties, {
      installedCriteria: '2.0.0',
      swuFileName: 'system.swu',
    })
    const checked = await operator(['import-manifest', 'check', file])
    assert.deepEqual([checked.exitCode, checked.stdout], [0, `${file} is in order`])

    const bytes = await readFile(bundle)
    bytes[bytes.length - 9000]! ^= 1
    await writeFile(bundle, bytes)
    const changed = await operator(['import-manifest', 'check', file, '--json'])
    assert.equal(changed.exitCode, 1)
    assert.match(JSON.parse(changed.stdout).findings[0].message, /is not that of/)
    const refused = await operator(['import-manifest', 'create', '--bundle', bundle, ...usual, '--out', '-'])
    assert.equal(refused.exitCode, 1)
    assert.match(refused.stderr, /checksum in the archive is wrong|sha256 is another one/)
  })

  test('criteria that are not the bundle’s version, and bundles that devices refuse, are found before a fleet tries', async () => {
    const swu = join(dir, 'three.swu')
    const signer = await openBundleSigner(dir)
    await buildBundle(swu, { tree: { version: '3.0.0' } }, signer)
    const file = join(dir, 'three.importmanifest.json')
    const make = (...args: string[]) =>
      operator(['import-manifest', 'create', '--bundle', swu, ...usual, '--out', file, ...args])
    const check = (...args: string[]) => operator(['import-manifest', 'check', file, ...args])
    const written = async () => JSON.parse(await readFile(file, 'utf8'))

    // The update's own version says nothing of what the version file has.
    assert.equal((await make('--update-version', '3.0.0.7')).exitCode, 0)
    assert.equal((await written()).instructions.steps[0].handlerProperties.installedCriteria, '3.0.0')
    assert.equal((await check()).stdout, `${file} is in order`)

    const made = await make('--installed-criteria', '1.0')
    assert.match(
      made.stderr,
      /warning: the version of three\.swu is 3\.0\.0, and the version file must begin with 1\.0/,
    )
    assert.equal(made.exitCode, 0)
    const wrong = await check()
    assert.match(
      wrong.stdout,
      /^error: .*installedCriteria is "1\.0", and the version of three\.swu is "3\.0\.0": each device would .*fall back; the Azure CLI/,
    )
    assert.equal(wrong.exitCode, 1)
    assert.equal((await check('--installed-criteria', '1.0')).exitCode, 0)
    assert.match((await check('--installed-criteria', '7')).stdout, /the first line of the version file is "7"/)

    assert.equal((await make()).exitCode, 0)
    assert.match(
      (await check('--selection', 'main,a')).stdout,
      /error: files\.0 there is nothing for the selection main,a/,
    )
    await buildBundle(swu, { tree: { version: '3.0.0' }, slots: ['b'] }, signer)
    const half = await make()
    assert.match(half.stderr, /nothing for the selection stable,a/)
    assert.equal(half.exitCode, 1)
    assert.equal((await make('--selection', 'stable,b')).exitCode, 0)
  })

  test('manifests of Windows editors are read', async () => {
    for (const [name, bytes] of Object.entries(encodings(JSON.stringify(good(), null, 2)))) {
      await writeFile(join(dir, 'windows.json'), bytes)
      const { exitCode, stdout, stderr } = await operator(['import-manifest', 'check', join(dir, 'windows.json')])
      assert.deepEqual([exitCode, stderr], [0, ''], name)
      assert.match(stdout, /windows\.json is in order/)
    }
  })

  test('what cannot be checked is told in one line', async () => {
    await writeFile(join(dir, 'bad.json'), '{ nope')
    const rows: readonly (readonly [readonly string[], number, RegExp])[] = [
      [['check', join(dir, 'bad.json')], 1, /bad\.json is not valid JSON: line 1, column 3: a name in double quotes/],
      [['check', join(dir, 'none.json')], 64, /cannot read/],
      [['create', '--bundle', join(dir, 'bad.json'), ...usual], 1, /is not a bundle|ends early/],
      [['create', '--bundle', bundle, '--provider', 'x', '--name', 'y'], 64, /required option/],
      [
        ['create', '--bundle', bundle, ...usual, '--handler', 'microsoft/apt:1'],
        64,
        /Allowed choices are microsoft\/sw/,
      ],
    ]
    for (const [args, code, line] of rows) {
      const { exitCode, stderr } = await operator(['import-manifest', ...args])
      assert.match(stderr, line)
      assert.equal(exitCode, code)
    }
  })
})
