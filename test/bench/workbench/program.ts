import { execFile } from 'node:child_process'
import { access } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { providerOptions } from '../../../src/adapters/swupdate/provider.ts'

/** The environment with the folders of system administration programs on the path, which a plain user's path lacks. */
export const programEnvironment: NodeJS.ProcessEnv = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` }

export interface ProgramOptions {
  readonly cwd?: string
  readonly env?: NodeJS.ProcessEnv
  readonly input?: string | Buffer
  readonly signal?: AbortSignal
}

/** Runs one program to its end and returns its stdout; anything but exit code 0 is an error that names the program and its last words. */
export function runProgram(argv: readonly [string, ...string[]], options: ProgramOptions = {}): Promise<Buffer> {
  const [file, ...args] = argv
  const { input, env, ...rest } = options
  return new Promise((resolve, reject) => {
    const child = execFile(
      file,
      args,
      { ...rest, env: { ...programEnvironment, ...env }, encoding: 'buffer', maxBuffer: 64 << 20 },
      (error, stdout, stderr) => {
        if (!error) return resolve(stdout)
        const words = stderr.toString().trim().split('\n').slice(-3).join('\n')
        reject(
          new Error(`${argv.slice(0, 3).join(' ')} failed (${error.code ?? error.signal}): ${words}`, { cause: error }),
        )
      },
    )
    // A program that ends without reading its input is judged by its exit code.
    child.stdin?.on('error', () => undefined)
    child.stdin?.end(input)
  })
}

/** How swupdate is called so that it verifies as the agent has it verify. */
export async function swupdateProgram(): Promise<readonly ['swupdate', ...string[]]> {
  for (const folder of (programEnvironment.PATH ?? '').split(delimiter)) {
    const file = join(folder, 'swupdate')
    const isThere = await access(file).then(
      () => true,
      () => false,
    )
    if (isThere) return ['swupdate', ...(await providerOptions(file))]
  }
  return ['swupdate']
}
