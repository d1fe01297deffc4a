import { execa, type Options } from 'execa'
import { note } from './progress.ts'

/** Folders of administration programs, which are not in an ordinary user's PATH. */
const PATH = `${process.env.PATH}:/usr/sbin:/sbin`

/** Runs a program and returns its stdout. Errors name the program and quote its last output. */
export async function run(argv: readonly [string, ...string[]], options: Options = {}): Promise<string> {
  const result = await start(argv, options)
  if (!result.failed) return String(result.stdout ?? '')
  const line = argv.slice(0, 4).join(' ').slice(0, 200)
  throw new Error(`${line} failed (${result.exitCode ?? result.signal}): ${lastWords(result)}`)
}

/**
 * Runs one of our own programs with one JSON argument. It must own files as root would, so it runs under fakeroot unless we
 * are root. Errors: the program's message, see `failInOneLine`.
 */
export async function runAsRoot(program: string, argument: unknown): Promise<void> {
  const own = [process.execPath, program, JSON.stringify(argument)] as const
  const result = await start(process.getuid?.() === 0 ? own : ['fakeroot', '--', ...own])
  if (result.failed) throw new Error(lastWords(result))
}

async function start(argv: readonly [string, ...string[]], options: Options = {}) {
  const [program, ...args] = argv
  const env = { LC_ALL: 'C.UTF-8', TZ: 'UTC', ...options.env, PATH }
  const child = execa(program, args, { stdin: 'ignore', ...options, env, reject: false })
  note(program, child.stderr)
  const result = await child
  if (result.code === 'ENOENT')
    throw new Error(`${program} is not installed: scripts/build-image installs what it needs`)
  return result
}

/**
 * Why a program failed, in its own words: the end of its stderr, or of its stdout for programs that complain there (mke2fs).
 * Stack traces of Node and the progress of mmdebstrap are left out. Pure.
 */
export function lastWords({ stderr, stdout }: { readonly stderr?: unknown; readonly stdout?: unknown }): string {
  for (const text of [stderr, stdout]) {
    const lines = String(text ?? '')
      .split('\n')
      .map(line => line.trimEnd())
      .filter(line => !/^(\s+at .*|I: .*|Node\.js v\S+|\s*\^+|node:\S+:\d+|)$/.test(line))
    if (lines.length > 0) return lines.slice(-8).join('\n')
  }
  return 'it said nothing'
}
