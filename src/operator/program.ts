import { execFile } from 'node:child_process'
import { EXIT, Failure } from './failure.ts'

/** With administration programs, which are not in an ordinary user's PATH. */
const PATH = `${process.env.PATH}:/usr/sbin:/sbin`

/** Programs that no machine has of itself, and whose package has another name. */
const PACKAGES: Readonly<Record<string, string>> = { mcopy: 'mtools', mdir: 'mtools', debugfs: 'e2fsprogs' }

const adviceFor = (program: string): string => (program in PACKAGES ? `: install the package ${PACKAGES[program]}` : '')

/** Runs a program and returns its stdout; `more` is added to its environment. Errors: Failure with the program's last output. */
export function runProgram(
  argv: readonly [string, ...string[]],
  input?: Buffer | string,
  more: Readonly<Record<string, string>> = {},
): Promise<Buffer> {
  const [file, ...args] = argv
  return new Promise((resolve, reject) => {
    const env = { ...process.env, PATH, LC_ALL: 'C', ...more }
    const child = execFile(file, args, { env, encoding: 'buffer', maxBuffer: 64 << 20 }, (error, stdout, stderr) => {
      if (!error) return resolve(stdout)
      if (error.code === 'ENOENT') return reject(new Failure(EXIT.usage, `${file} is not installed${adviceFor(file)}`))
      const words = stderr.toString().trim().split('\n').slice(-3).join(' | ')
      const command = [file, ...args.slice(0, 2)].join(' ')
      reject(new Failure(EXIT.failed, `${command} failed: ${words || error.message}`, { cause: error }))
    })
    // A program may end without reading its input; its exit code decides.
    child.stdin?.on('error', () => undefined)
    child.stdin?.end(input)
  })
}
