import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { execa } from 'execa'
import fc from 'fast-check'
import { repositoryRoot } from '../../image/builder/repository.ts'
import { Failure } from '../../src/operator/failure.ts'
import { checkManifest } from '../../src/operator/import-manifest/check.ts'
import { stepsIn, wantedStep } from '../../src/operator/import-manifest/wanted-step.ts'
import { openBundleSigner } from '../bench/workbench/bundle-key.ts'
import { buildBundle } from '../bench/workbench/swu.ts'
import { mutatedJson } from '../trust/fuzz/mutate.ts'
import { OPERATOR, operator } from './support.ts'

let dir: string
const SCRIPT = '#!/bin/sh\nexit 0\n'
const sha256 = (text: string | Buffer) => createHash('sha256').update(text).digest('base64')
const usual = ['--provider', 'contoso', '--name', 'gateway', '--compat', 'manufacturer=contoso,model=pi4']
const run = (...args: string[]) => operator(['import-manifest', ...args], undefined, { cwd: dir })
const create = (...args: string[]) => run('create', ...usual, ...args)

before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'steps-'))
  await buildBundle(join(dir, 'system.swu'), { tree: { version: '2.0.0' } }, await openBundleSigner(dir))
  const files = {
    'prepare.sh': SCRIPT,
    'finish.sh': '#!/bin/sh\nexit 1\n',
    'windows.sh': '#!/bin/sh\r\nexit 0\r\n',
    'text.sh': 'exit 0\n',
    'data.bin': 'data',
    'firmware.hex': ':00000001FF\n',
    'old.swu': 'the old bundle',
    'system.diff': 'the difference',
    'tools.json': JSON.stringify({
      name: 'contoso-tools',
      version: '1.4',
      packages: [{ name: 'foo', version: '1.0' }],
    }),
    'shell.json': JSON.stringify({ name: 'x', version: '1', packages: [{ name: '$(reboot)' }] }),
  }
  for (const [name, text] of Object.entries(files)) await writeFile(join(dir, name), text)
})
after(() => rm(dir, { recursive: true }))

const CHILD = 'contoso.sensor.1.4.importmanifest.json'

describe('a list of steps', () => {
  test('has each kind in order, with the options behind it; check finds the same files and nothing wrong', async () => {
    const child = await run(
      ...['create', '--provider', 'contoso', '--name', 'sensor', '--update-version', '1.4', '--no-deployable'],
      ...['--compat', 'group=sensors', '--step', 'contoso/mcu:1', '--file', 'firmware.hex', '--property', 'port=a=b'],
    )
    assert.deepEqual([child.exitCode, child.stderr], [0, ''])
    assert.match(
      child.stdout,
      /^warning: instructions\.steps\.0\.handler "contoso\/mcu:1" is not a handler of the agent/,
    )
    const { exitCode, stderr, stdout } = await create(
      ...['--description', 'all of it'],
      ...['--step', 'script:prepare.sh', '--arguments', '--pre "x y"', '--file', 'data.bin', '--api-version', '1.1'],
      ...['--step', 'image:system.swu', '--related-file', 'system.diff', '--related-source', 'old.swu'],
      ...['--step', 'apt:tools.json', '--step-description', 'the tools'],
      ...['--step', 'script:prepare.sh', '--installed-criteria', 'again-1', '--property', 'who=me'],
      ...['--step', `ref:${CHILD}`, '--step-description', 'the sensors'],
    )
    assert.deepEqual([exitCode, stderr], [0, ''])
    assert.match(stdout, /written: contoso\.gateway\.2\.0\.0\.importmanifest\.json$/)
    const path = join(dir, 'contoso.gateway.2.0.0.importmanifest.json')
    const { instructions, files, description } = JSON.parse(await readFile(path, 'utf8'))
    assert.equal(description, 'all of it')
    assert.deepEqual(instructions.steps, [
      {
        handler: 'microsoft/script:1',
        files: ['prepare.sh', 'data.bin'],
        handlerProperties: {
          installedCriteria: 'prepare-2.0.0',
          scriptFileName: 'prepare.sh',
          arguments: '--pre "x y"',
          apiVersion: '1.1',
        },
      },
      {
        handler: 'microsoft/swupdate:2',
        files: ['system.swu'],
        handlerProperties: { installedCriteria: '2.0.0', swuFileName: 'system.swu' },
      },
      {
        description: 'the tools',
        handler: 'microsoft/apt:1',
        files: ['tools.json'],
        handlerProperties: { installedCriteria: 'contoso-tools-1.4' },
      },
      {
        handler: 'microsoft/script:1',
        files: ['prepare.sh'],
        handlerProperties: { installedCriteria: 'again-1', scriptFileName: 'prepare.sh', who: 'me' },
      },
      {
        type: 'reference',
        description: 'the sensors',
        updateId: { provider: 'contoso', name: 'sensor', version: '1.4' },
      },
    ])
    assert.deepEqual(
      files.map(({ filename }: { filename: string }) => filename),
      ['prepare.sh', 'data.bin', 'system.swu', 'tools.json'],
    )
    assert.deepEqual(files[0], { filename: 'prepare.sh', sizeInBytes: 17, hashes: { sha256: sha256(SCRIPT) } })
    assert.deepEqual(files[2].downloadHandler, { id: 'microsoft/delta:1' })
    assert.deepEqual(files[2].relatedFiles, [
      {
        filename: 'system.diff',
        sizeInBytes: 14,
        hashes: { sha256: sha256('the difference') },
        properties: {
          'microsoft.sourceFileHash': sha256('the old bundle'),
          'microsoft.sourceFileHashAlgorithm': 'sha256',
        },
      },
    ])
    const checked = await run('check', path)
    assert.deepEqual([checked.exitCode, checked.stdout], [0, `${path} is in order`])

    // What has changed beside it is found: a script, a related file, a child.
    await writeFile(join(dir, 'system.diff'), 'another differ')
    const childPath = join(dir, CHILD)
    const text = await readFile(childPath, 'utf8')
    const same = JSON.parse(text)
    same.compatibility = [{ model: 'Pi4', manufacturer: 'contoso' }]
    same.instructions.steps.push({ type: 'reference', updateId: { provider: 'a', name: 'b', version: '1.0' } })
    same.isDeployable = true
    await writeFile(childPath, JSON.stringify(same))
    const changed = await run('check', path)
    await writeFile(childPath, text)
    await writeFile(join(dir, 'system.diff'), 'the difference')
    assert.equal(changed.exitCode, 1)
    const lines = changed.stdout.split('\n')
    assert.match(lines[0]!, /^error: files\.2\.relatedFiles\.0\.hashes\.sha256 is not that of /)
    assert.match(lines[1]!, /^error: instructions\.steps\.4\.updateId .* refers to other updates itself/)
    assert.match(lines[2]!, /^error: instructions\.steps\.4\.updateId .* has the same compatibility as this update/)
  })

  test('is written by a steps file as well; its paths start at its folder', async () => {
    const folder = join(dir, 'list')
    await mkdir(folder)
    await writeFile(join(folder, 'prepare.sh'), SCRIPT)
    const steps = [
      { step: 'script:prepare.sh', arguments: '--pre', description: 'first', properties: { limits: { seconds: 5 } } },
      { step: 'image:../system.swu', relatedFiles: [{ file: '../system.diff', source: '../old.swu' }] },
      { step: 'contoso/mcu:1', files: ['../firmware.hex'], installedCriteria: 'mcu-3' },
      { step: 'script:prepare.sh', arguments: '--post' },
    ]
    await writeFile(join(folder, 'steps.json'), JSON.stringify(steps))
    const { exitCode, stderr, stdout } = await create('--steps', 'list/steps.json', '--out', '-')
    assert.deepEqual([exitCode, stderr], [0, ''])
    const { instructions, files } = JSON.parse(stdout)
    assert.deepEqual(
      instructions.steps.map(({ handler }: { handler: string }) => handler),
      ['microsoft/script:1', 'microsoft/swupdate:2', 'contoso/mcu:1', 'microsoft/script:1'],
    )
    assert.deepEqual(instructions.steps[0].handlerProperties.limits, { seconds: 5 })
    assert.deepEqual(instructions.steps[2].handlerProperties, { installedCriteria: 'mcu-3' })
    const [first, , , last] = instructions.steps
    assert.equal(first.handlerProperties.installedCriteria, 'prepare-2.0.0')
    assert.equal(last.handlerProperties.installedCriteria, 'prepare-2.0.0-step-3', 'a default is nobody else’s')
    assert.equal(files[1].relatedFiles[0].filename, 'system.diff')
  })

  test('with several mistakes names each in a line of its own, and writes nothing', async () => {
    const { exitCode, stderr, stdout } = await create(
      ...['--update-version', '7.0', '--out', 'never.json', '--description', 'x'.repeat(513)],
      ...[
        '--step',
        'script:windows.sh',
        '--step',
        'script:text.sh',
        '--step',
        'apt:shell.json',
        '--step',
        'image:old.swu',
      ],
    )
    assert.deepEqual([exitCode, stdout], [1, ''])
    assert.deepEqual(stderr.split('\n'), [
      'error: description must have 1 to 512 characters',
      'error: files.0 windows.sh ends its first line with CR LF, as Windows does: no device can start it',
      'error: files.1 text.sh has no first line like "#!/bin/sh": no device can start it',
      'error: files.2 shell.json: the APT manifest, packages.0: "$(reboot)" is not the name of a Debian package (a-z 0-9 + - .), with "-" at its end to remove it',
      'error: files.3 old.swu is not a bundle: it ends early, at byte 14',
      'pi-adu-operator: 5 mistakes; nothing was written',
    ])
    await assert.rejects(readFile(join(dir, 'never.json')))
  })

  test('a mistake on the command line is one sentence with what to do', async () => {
    const rows: readonly (readonly [readonly string[], number, RegExp])[] = [
      [[], 64, /no step: give --bundle FILE, --step STEP in order, or --steps FILE/],
      [['--step', 'script:none.sh', '--update-version', '1.0'], 64, /cannot read none\.sh: ENOENT/],
      [['--step', 'script:prepare.sh'], 64, /version of an update without an image must be given: --update-version/],
      [
        ['--step', 'image:system.swu', '--step', 'image:system.swu'],
        64,
        /version of an update of several images must be given/,
      ],
      [
        ['--arguments', 'x', '--step', 'script:prepare.sh', '--step', 'image:system.swu'],
        64,
        /arguments belongs to one of the steps: put its option behind the --step/,
      ],
      [['--step', 'image:system.swu', '--steps', 'x.json'], 64, /--steps has the whole list/],
      [['--step', 'image:system.swu', '--related-source', 'x'], 64, /It belongs to a related file/],
      [['--step', 'script:prepare.sh', '--property', 'x'], 64, /It must look like name=value/],
      [['--step', 'script:prepare.sh', '--api-version', '3'], 64, /Allowed choices are 1\.0, 1\.1/],
      [
        ['--step', 'script:prepare.sh', '--file', 'list/prepare.sh', '--update-version', '1.0'],
        64,
        /have the same name: each file needs its own/,
      ],
    ]
    for (const [args, code, line] of rows) {
      const { exitCode, stderr } = await create(...args)
      assert.match(stderr, line)
      assert.equal(stderr.split('\n').length, 1, stderr)
      assert.equal(exitCode, code, stderr)
    }
  })
})

test('the example on the operator’s page works, command by command', async () => {
  const page = await readFile(join(repositoryRoot(), 'src/operator/README.md'), 'utf8')
  const [, section = ''] = /## A list of steps\n(.*?)\n## /s.exec(page) ?? []
  const commands = section.split('\n').filter(line => line.startsWith('    '))
  const folder = join(dir, 'example')
  await mkdir(folder)
  await copyFile(join(dir, 'system.swu'), join(folder, 'system.swu'))
  for (const name of ['save.sh', 'move.sh', 'firmware.hex']) await writeFile(join(folder, name), SCRIPT)
  const shell = ['set -e', `pi-adu-operator() { "${process.execPath}" "${OPERATOR}" "$@"; }`, ...commands]
  const { stdout, stderr, exitCode } = await execa('bash', ['-c', shell.join('\n')], { cwd: folder, reject: false })
  assert.deepEqual([exitCode, stderr], [0, ''], stdout)
  const [, , , ...more] = stdout.split('\n').filter(line => !line.startsWith('warning'))
  assert.deepEqual(more, [
    'written: contoso-tools-1.4.json',
    'contoso-tools-1.4.json is in order: 2 packages, installedCriteria "contoso-tools-1.4"',
    'written: contoso.tools.1.4.importmanifest.json',
  ])
})

describe('one step', () => {
  const rows: readonly (readonly [Parameters<typeof wantedStep>[0], RegExp])[] = [
    [{ step: 'nonsense' }, /here: "nonsense" is not a step: image:FILE, script:FILE/],
    [{ step: 'image:' }, /is not a step/],
    [{ step: 'apt:x', arguments: '' }, /a step "apt" has no arguments/],
    [{ step: 'apt:x', files: ['y'] }, /a step "apt" has no files/],
    [{ step: 'ref:x', installedCriteria: 'y' }, /a step "ref" has no installedCriteria/],
    [{ step: 'script:x', handler: 'microsoft/swupdate:1' }, /a step "script" has no handler/],
    [
      { step: 'image:x', handler: 'microsoft/apt:1' },
      /Allowed choices are microsoft\/swupdate:2, microsoft\/swupdate:1/,
    ],
    [{ step: 'image:x', arguments: '--pre' }, /arguments is for the script of an image step/],
    [{ step: 'image:x', script: 'y', handler: 'microsoft/swupdate:1' }, /microsoft\/swupdate:1 takes no script/],
    [{ step: 'contoso/mcu:1' }, /contoso\/mcu:1 has no file/],
    [
      { step: 'contoso/mcu:1', files: ['x'], properties: { arguments: 'y' } },
      /the property arguments is set by an option/,
    ],
    [
      { step: 'script:x', relatedFiles: [{ file: 'y', of: 'z' }] },
      /the related file y is for z, which is not in the step/,
    ],
  ]
  for (const [given, expected] of rows) {
    test(`${JSON.stringify(given)}: ${expected.source}`, () => assert.throws(() => wantedStep(given, 'here'), expected))
  }
  test('an image with a script has both files, the image first', () => {
    const { files, script, handler } = wantedStep({ step: 'image:a/x.swu', script: 'a/y.sh', arguments: '--z' }, 'here')
    assert.deepEqual([files, script, handler], [['a/x.swu', 'a/y.sh'], 'a/y.sh', 'microsoft/swupdate:2'])
  })
  test('a steps file names its mistakes', () => {
    const inFile = (json: unknown) => () => stepsIn(json, 'steps.json', '.')
    assert.throws(inFile({}), /^Failure: steps\.json: it must be a list of steps$/)
    assert.throws(inFile([]), /steps\.json: it has no step/)
    assert.throws(inFile([{ step: 'script:x', argument: '' }, {}]), /0\.argument is not known here; 1\.step is missing/)
    assert.throws(inFile([{ step: 'script:x', apiVersion: '7' }]), /0\.apiVersion must be "1\.0" or "1\.1"/)
    assert.throws(
      inFile([{ step: 'script:x' }, { step: 'apt:y', files: [] }]),
      /steps\.json: step 1: a step "apt" has no/,
    )
  })
})

test('whatever is in a manifest or a steps file, it is a finding or a sentence', async () => {
  const hashes = { sha256: `${'A'.repeat(43)}=` }
  const file = (filename: string) => ({ filename, sizeInBytes: 7, hashes })
  const manifest = {
    updateId: { provider: 'Contoso', name: 'Toaster', version: '1.0' },
    compatibility: [{ manufacturer: 'Contoso', model: 'Toaster' }],
    instructions: {
      steps: [
        {
          handler: 'microsoft/swupdate:2',
          files: ['a'],
          handlerProperties: { installedCriteria: '1', swuFileName: 'a' },
        },
        {
          handler: 'microsoft/script:1',
          files: ['b'],
          handlerProperties: { installedCriteria: '2', scriptFileName: 'b' },
        },
        { handler: 'microsoft/apt:1', files: ['c'], handlerProperties: { installedCriteria: '3' } },
        { type: 'reference', updateId: { provider: 'Contoso', name: 'Sensor', version: '1.0' } },
      ],
    },
    files: [
      { ...file('a'), relatedFiles: [{ ...file('d'), properties: {} }], downloadHandler: { id: 'microsoft/delta:1' } },
      ...[file('b'), file('c')],
    ],
    manifestVersion: '5.0',
    createdDateTime: '2022-01-19T06:23:52Z',
  }
  const steps = [
    { step: 'script:a', arguments: 'x', files: ['b'], properties: { c: [1] }, relatedFiles: [{ file: 'd', of: 'b' }] },
  ]
  const checked = fc.property(mutatedJson(manifest), mutatedJson(steps), (json, list) => {
    for (const { message } of checkManifest(json)) assert.ok(message.length > 0)
    try {
      stepsIn(list, 'steps.json', '.')
    } catch (error) {
      assert.ok(error instanceof Failure, String(error))
    }
  })
  fc.assert(checked, { numRuns: 2000, seed: 1 })
})
