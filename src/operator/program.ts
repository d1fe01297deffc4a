import { execFile } from 'node:child_process'
import { EXIT, Failure } from './failure.ts'

/** Runs one program to its end and gives its stdout. Errors: Failure with the program's last words. */
export function runProgram(argv: readonly [string, ...string[]], input?: Buffer | string): Promise<Buffer> {
  const [file, ...args] = argv
  return new Promise((resolve, reject) => {
    const env = { ...process.env, LC_ALL: 'C' }
    const child = execFile(file, args, { env, encoding: 'buffer', maxBuffer: 64 << 20 }, (error, stdout, stderr) => {
      if (!error) return resolve(stdout)
      if (error.code === 'ENOENT') return reject(new Failure(EXIT.usage, `${file} is not installed`))
      const words = stderr.toString().trim().split('\n').slice(-3).join(' | ')
      const command = [file, ...args.slice(0, 2)].join(' ')
      reject(new Failure(EXIT.failed, `${command} failed: ${words || error.message}`, { cause: error }))
    })
    // A program that ends without reading its input is judged by its exit code.
    child.stdin?.on('error', () => undefined)
    child.stdin?.end(input)
  })
}
