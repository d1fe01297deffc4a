import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { test } from 'node:test'
import { repositoryRoot } from '../image/builder/repository.ts'

const root = repositoryRoot()
const pages = [
  'README.md',
  'CHANGELOG.md',
  ...['src', 'image', 'test'].flatMap(folder =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter(name => name.endsWith('.md'))
      .map(name => join(folder, name)),
  ),
].map(file => ({ file, text: readFileSync(join(root, file), 'utf8') }))

/** As GitHub makes them of headings. */
const anchors = (text: string): readonly string[] =>
  [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}_ -]/gu, '')
      .replaceAll(' ', '-'),
  )

test('links between the pages lead somewhere', () => {
  for (const { file, text } of pages) {
    for (const [, path = '', anchor] of text.matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)/g)) {
      const target = path === '' ? file : relative(root, join(root, dirname(file), path))
      assert.ok(existsSync(join(root, target)), `${file} links to ${path}`)
      if (anchor === undefined) continue
      assert.ok(
        anchors(readFileSync(join(root, target), 'utf8')).includes(anchor),
        `${file} links to ${path}#${anchor}`,
      )
    }
  }
})

const helpTexts = new Map<string, string>()
/** What a program of ours answers to `--help`. */
function helpOf(...argv: readonly string[]): string {
  const key = argv.join(' ')
  const [program = '', ...args] = argv
  const [file, ...first] = program.endsWith('.js') ? [process.execPath, join(root, program)] : [join(root, program)]
  const ask = () => spawnSync(file, [...first, ...args, '--help'], { encoding: 'utf8' }).stdout
  const known = helpTexts.get(key) ?? ask()
  helpTexts.set(key, known)
  return known
}

const OPERATOR = 'dist/src/operator/main.js'
const OPERATOR_COMMANDS = /^(?:apt-manifest|bundle|ca|identities|import-manifest|offline) \w+|^[\w-]+/

/** The commands of a page's code blocks, without comments, and on one line each. */
const commandsOf = (text: string): readonly string[] =>
  text
    .replace(/ \\\n +/g, ' ')
    .split('\n')
    .filter(line => line.startsWith('    '))
    .map(line => line.trim().replace(/ {2,}#.*$/, ''))

test('commands on the pages exist, with their flags', () => {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: object }
  let checked = 0
  const hasFlags = (where: string, command: string, help: string): void => {
    checked += 1
    for (const [flag] of command.matchAll(/(?<=\s)--[a-z][\w-]*/g)) {
      assert.match(help, new RegExp(`(^|[^\\w-])${flag}([^\\w-]|$)`, 'm'), `${where}: ${flag}`)
    }
  }
  for (const { file, text } of pages) {
    for (const command of commandsOf(text)) {
      const where = `${file}: ${command}`
      for (const [part, name = ''] of command.matchAll(/\.\/scripts\/([\w-]+)[^$)|;&]*/g)) {
        assert.ok(existsSync(join(root, 'scripts', name)), where)
        hasFlags(where, part, helpOf(`scripts/${name}`))
      }
      const [, script] = /^npm run (?:-\w+ )?([\w:]+)/.exec(command) ?? []
      if (script !== undefined) assert.ok(script in scripts, where)
      const [, program] = /\bnode (?:--[\w-]+ )*(dist\/\S+\.js)/.exec(command) ?? []
      if (program !== undefined) assert.ok(existsSync(join(root, program)), where)
      const [, rest] = /^pi-adu-operator (.+)$/.exec(command) ?? []
      if (rest === undefined) continue
      const words = OPERATOR_COMMANDS.exec(rest)?.[0].split(' ') ?? []
      hasFlags(where, rest, helpOf(OPERATOR, ...words))
    }
  }
  assert.ok(checked >= 20, `${checked} commands found`)
})

const textOf = (page: string): string => readFileSync(join(root, page), 'utf8')

test('every file and folder that src/README.md names is there', () => {
  const named = [...textOf('src/README.md').matchAll(/`([\w.*-]+(?:\/[\w.*-]*)+|[\w-]+\.ts)`/g)].map(
    match => match[1] ?? '',
  )
  assert.ok(named.length >= 40, `${named.length} names`)
  for (const name of named) {
    assert.ok(existsSync(join(root, name)) || existsSync(join(root, 'src', name)), `src/README.md names ${name}`)
  }
})

test('src/README.md names every room', () => {
  const text = textOf('src/README.md')
  for (const entry of readdirSync(join(root, 'src'), { withFileTypes: true })) {
    if (!entry.isDirectory() && !entry.name.endsWith('.ts')) continue
    assert.ok(text.includes(`| \`${entry.name}${entry.isDirectory() ? '/' : ''}\``), entry.name)
  }
})

test('test/README.md names every folder of tests, and shows a test that runs', () => {
  const text = textOf('test/README.md')
  for (const entry of readdirSync(join(root, 'test'), { withFileTypes: true })) {
    if (entry.isDirectory()) assert.match(text, new RegExp(`[\`(/]${entry.name}/`), entry.name)
  }
  assert.ok(text.includes(`\`\`\`ts\n${textOf('test/workflow/example.test.ts')}\`\`\``))
})

test('README.md stays short', () => {
  const { length } = textOf('README.md').trimEnd().split('\n')
  assert.ok(length <= 200, `${length} lines`)
})
