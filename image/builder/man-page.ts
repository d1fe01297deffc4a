import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import { agentProgram } from '../../src/cli/program.ts'
import { repositoryRoot } from './repository.ts'

/** Where `npm run docs` puts the man page. */
export const MAN_PAGE = join(repositoryRoot(), 'image/debian/pi-adu.1')

const FILES = [
  ['/etc/adu/du-config.json', 'the configuration; an example lies beside it'],
  ['/etc/pi-adu/steps.json', 'what packages and scripts of a deployment may do; only root may write it'],
  ['/etc/pi-adu/health.d', "the owner's health checks"],
  ['/var/lib/adu', 'journal, root keys and identity'],
  ['/run/pi-adu-agent/control.sock', 'the control socket'],
] as const

/** `pi-adu(1)` in man(7) macros, from the commands themselves and from the table of exit codes in src/config/README.md. */
export function manPage(): string {
  const program = agentProgram()
  const lines = [
    '.\\" Made from the commands by `npm run docs`.',
    `.TH PI\\-ADU 1 "" "pi\\-adu\\-agent ${plain(program.version() ?? '')}" "User Commands"`,
    '.SH NAME',
    `pi\\-adu \\- ${plain(program.description())}`,
    '.SH SYNOPSIS',
    '.B pi\\-adu',
    '.I command',
    '[options]',
    '.SH COMMANDS',
    ...program.commands.flatMap(command => ofCommand(program, command)),
    '.SH EXIT STATUS',
    ...exitCodes().flatMap(([code, meaning]) => entry(`.B ${code}`, meaning)),
    '.SH FILES',
    ...FILES.flatMap(([file, meaning]) => entry(`.I ${plain(file)}`, meaning)),
    '.SH SEE ALSO',
    '.BR journalctl (1),',
    '.BR systemctl (1),',
    '.BR swupdate (1)',
  ]
  return `${lines.join('\n')}\n`
}

function ofCommand(program: Command, command: Command): string[] {
  const help = program.createHelp()
  const term = [command.name(), command.usage()].join(' ')
  return [
    `.SS "pi\\-adu ${plain(term)}"`,
    text(help.commandDescription(command)),
    ...help
      .visibleArguments(command)
      .flatMap(each => entry(`.I ${plain(each.name())}`, help.argumentDescription(each))),
    ...help
      .visibleOptions(command)
      .filter(option => option.long !== '--help')
      .flatMap(option =>
        entry(`.B ${plain(help.optionTerm(option))}`, help.optionDescription(option).replace(' (default: false)', '')),
      ),
    ...after(command).flatMap(line => ['.PP', text(line)]),
  ]
}

/** What `addHelpText` adds behind the help. */
function after(command: Command): readonly string[] {
  const said: string[] = []
  command.configureOutput({ ...command.configureOutput(), writeOut: piece => void said.push(piece) }).outputHelp()
  return said
    .join('')
    .slice(command.helpInformation().length)
    .split('\n')
    .filter(line => line.trim() !== '')
}

function exitCodes(): readonly (readonly [code: string, meaning: string])[] {
  const page = readFileSync(join(repositoryRoot(), 'src/config/README.md'), 'utf8')
  const section = page.slice(page.indexOf('\n## Exit codes'))
  const rows = [...section.matchAll(/^\| (\d+) \| (.*) \|$/gm)]
  if (rows.length === 0) throw new Error('src/config/README.md has no table of exit codes')
  return rows.map(([, code = '', meaning = '']) => [code, meaning.replaceAll('`', '')] as const)
}

const entry = (tag: string, meaning: string): string[] => ['.TP', tag, text(meaning)]

/** Words on the line of a macro. */
const plain = (words: string): string => words.replaceAll('\\', '\\e').replaceAll('-', '\\-').replaceAll('"', '\\(dq')

/** A line of text, which a dot or an apostrophe at its beginning would make a request. */
const text = (words: string): string => plain(words).replace(/^(?=[.'])/, '\\&')
