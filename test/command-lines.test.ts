import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { repositoryRoot } from '../image/builder/repository.ts'
import { version } from '../src/cli/version.ts'

/** One convention for every program: asking ends with 0, a mistake with 64 and one line, and neither does anything. */

const root = repositoryRoot()
// A checkout where nothing is installed and nothing is built: a script that did either could not succeed here.
const bare = mkdtempSync(join(tmpdir(), 'bare-checkout-'))
after(() => rmSync(bare, { recursive: true }))
cpSync(join(root, 'scripts'), join(bare, 'scripts'), { recursive: true })
cpSync(join(root, 'package.json'), join(bare, 'package.json'))
/** What the scripts may use before they know what is wanted. */
const tools = join(bare, 'tools')
cpSync('/dev/null', join(bare, 'nothing'))
spawnSync('mkdir', [tools])
for (const tool of ['sh', 'sed', 'grep', 'basename', 'dirname', 'id']) {
  symlinkSync(spawnSync('sh', ['-c', `command -v ${tool}`], { encoding: 'utf8' }).stdout.trim(), join(tools, tool))
}

interface Program {
  readonly name: string
  readonly argv: readonly string[]
  readonly env?: NodeJS.ProcessEnv
}

const scripts = readdirSync(join(root, 'scripts'), { withFileTypes: true }).filter(entry => entry.isFile())
const node = (name: string, file: string): Program => ({ name, argv: [process.execPath, join(root, 'dist', file)] })
const PROGRAMS: readonly Program[] = [
  ...scripts.map(({ name }) => ({ name, argv: [join(bare, 'scripts', name)], env: { PATH: tools } })),
  node('pi-adu', 'src/main.js'),
  node('pi-adu-operator', 'src/operator/main.js'),
  node('bench', 'test/bench/cli.js'),
  node('demo', 'test/bench/demo/main.js'),
  node('bench-hub', 'test/bench/hub/main.js'),
  node('bench', 'test/benchmark/main.js'),
  node('bench:fleet', 'test/benchmark/fleet/main.js'),
]

function run({ argv: [file = '', ...first], env }: Program, ...args: string[]) {
  const options = { encoding: 'utf8', timeout: 60_000, cwd: bare, ...(env && { env }) } as const
  const { status, stdout, stderr } = spawnSync(file, [...first, ...args], options)
  return { status, stdout, stderr }
}

test('there are the scripts that README names', () => {
  assert.ok(scripts.length >= 6, scripts.map(({ name }) => name).join())
})

for (const program of PROGRAMS) {
  const { name } = program
  test(`${program.argv.at(-1)?.replace(root, '').replace(bare, '')}: --help, -h, --version, a wrong flag`, () => {
    const help = run(program, '--help')
    assert.deepEqual([help.status, help.stderr], [0, ''])
    assert.ok(help.stdout.includes(name) && help.stdout.split('\n').length > 2, help.stdout)
    assert.deepEqual(run(program, '-h'), help)
    assert.deepEqual(run(program, '--version'), { status: 0, stdout: `${version()}\n`, stderr: '' })
    assert.deepEqual(run(program, '-V'), { status: 0, stdout: `${version()}\n`, stderr: '' })
    for (const flag of ['--wrong', '--wrong=1', '-w']) {
      const wrong = run(program, flag)
      assert.deepEqual([wrong.status, wrong.stdout], [64, ''], wrong.stderr)
      assert.match(wrong.stderr, new RegExp(`^${name}: .*\n$`))
    }
  })
}

/** Program of a script → options that its own command line knows and nobody needs in the script's head. */
const BEHIND: readonly (readonly [script: string, program: string])[] = [
  ['bench', 'test/bench/cli.ts'],
  ['demo', 'test/bench/demo/main.ts'],
]

for (const [script, file] of BEHIND) {
  test(`the head of scripts/${script} names each option that its program takes`, () => {
    const head = readFileSync(join(root, 'scripts', script), 'utf8')
    const known = readFileSync(join(root, file), 'utf8').matchAll(/(?:option|Option)\('(--[a-z-]+)/g)
    const options = [...known].map(match => match[1] ?? '')
    assert.ok(options.length > 5)
    for (const option of options) assert.match(head, new RegExp(`${option}\\b`), option)
  })
}

test('a mistake of the image builder’s own is 64 as well', () => {
  for (const file of ['image/builder/main.js', 'image/qemu/run.js']) {
    const program = node('', file)
    const { status, stderr } = run(program, '--wrong')
    assert.equal(status, 64)
    assert.match(stderr, /^(build-image|run-qemu): Unknown option '--wrong'; see --help\n$/)
    assert.equal(run(program, '--board', 'a b').status, 64)
  }
})
