import { execa, type Options } from 'execa'

/** Folders of system administration programs, which a plain user's path lacks. */
const PATH = `${process.env.PATH}:/usr/sbin:/sbin`

/** Runs one program to its end and gives its stdout. Errors name the program and its last words. */
export async function run(argv: readonly [string, ...string[]], options: Options = {}): Promise<string> {
  const [program, ...args] = argv
  const env = { LC_ALL: 'C.UTF-8', TZ: 'UTC', ...options.env, PATH }
  const result = await execa(program, args, { stdin: 'ignore', ...options, env, reject: false })
  if (!result.failed) return String(result.stdout ?? '')
  const words = String(result.stderr ?? '')
    .trim()
    .split('\n')
    .slice(-5)
    .join('\n')
  if (result.code === 'ENOENT')
    throw new Error(`${program} is not installed: scripts/build-image installs what it needs`)
  throw new Error(`${argv.slice(0, 4).join(' ').slice(0, 200)} failed (${result.exitCode ?? result.signal}): ${words}`)
}

/** Runs a program that needs to own files as root would: under fakeroot, unless we are root. */
export const asRoot = (argv: readonly [string, ...string[]]): readonly [string, ...string[]] =>
  process.getuid?.() === 0 ? argv : ['fakeroot', '--', ...argv]
