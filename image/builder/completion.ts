import { join } from 'node:path'
import type { Argument, Command, Option } from 'commander'
import { agentProgram } from '../../src/cli/program.ts'
import { repositoryRoot } from './repository.ts'

/** Below the root of a system: where bash-completion looks. */
export const COMPLETION = 'usr/share/bash-completion/completions/pi-adu'

/** Where `npm run docs` puts it. */
export const COMPLETION_FILE = join(repositoryRoot(), 'image/rootfs', COMPLETION)

/** The completion of `pi-adu` for bash, from the commands themselves. It needs nothing else of bash-completion. */
export function completion(): string {
  const program = agentProgram()
  const { commands } = program
  const options = [...new Map(commands.flatMap(each => each.options).map(option => [option.long, option])).values()]
  const taking = (kind: Kind) => options.filter(option => kindOf(option) === kind).map(({ long }) => long ?? '')
  const choices = options.filter(({ argChoices }) => argChoices)
  return `# pi-adu(1) for bash. Made from the commands by \`npm run docs\`.
_pi_adu() {
  local word=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD - 1]} words=
  COMPREPLY=()
  case $before in
${clause(taking('file'), 'compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$word"); return')}
${choices.map(({ long, argChoices = [] }) => clause([long ?? ''], `mapfile -t COMPREPLY < <(compgen -W '${argChoices.join(' ')}' -- "$word"); return`)).join('\n')}
${clause(taking('text'), 'return')}
  esac
  if ((COMP_CWORD == 1)); then
    words='${[...commands.map(each => each.name()), '--help', '--version'].join(' ')}'
  else
    case \${COMP_WORDS[1]} in
${commands.map(each => `      ${each.name()}) words='${wordsOf(each)}' ;;`).join('\n')}
    esac
    case $word:\${COMP_WORDS[1]} in
      -*) ;;
${clause(
  commands.filter(takesFile).map(each => `*:${each.name()}`),
  'compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$word"); return',
  6,
)}
    esac
  fi
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -F _pi_adu pi-adu
`
}

type Kind = 'flag' | 'file' | 'choice' | 'text'

function kindOf({ required, optional, argChoices, flags }: Option): Kind {
  if (!required && !optional) return 'flag'
  if (argChoices) return 'choice'
  return /<(?:file|path|folder)/.test(flags) ? 'file' : 'text'
}

const takesFile = ({ registeredArguments }: Command): boolean =>
  registeredArguments.some((each: Argument) => /\b(file|path|folder)\b/i.test(`${each.name()} ${each.description}`))

const wordsOf = (command: Command): string => [...command.options.map(({ long }) => long), '--help'].join(' ')

const clause = (patterns: readonly string[], what: string, indent = 4): string =>
  patterns.length === 0 ? '' : `${' '.repeat(indent)}${patterns.join(' | ')}) ${what} ;;`
