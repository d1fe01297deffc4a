/** From now on an error ends the program with one line for who has started it; a fault of ours with its stack. */
export function failInOneLine(program: string): void {
  process.once('uncaughtException', error => {
    const isOurs = error instanceof TypeError || error instanceof ReferenceError
    process.stderr.write(`${program}: ${isOurs && !('code' in error) ? error.stack : error.message}\n`)
    process.exit(1)
  })
}
