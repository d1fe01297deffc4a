import { EXIT, Failure, messageOf } from '../failure.ts'
import { runProgram } from '../program.ts'

/** A FAT file system within a file; `start` in bytes. */
export interface FatPlace {
  readonly path: string
  readonly start: number
}

/**
 * Runs a program of mtools(1). Times are in UTC, as the system reads them; names in UTF-8, of which the locale C would make other
 * ones. Errors: Failure.
 */
export async function runMtool({ path, start }: FatPlace, name: string, ...args: readonly string[]): Promise<Buffer> {
  const argv = [name, '-i', `${path}@@${start}`, ...args] as const
  try {
    return await runProgram(argv, undefined, { TZ: 'UTC', LC_ALL: 'C.UTF-8', MTOOLSRC: '/dev/null' })
  } catch (error) {
    if (/disk full|no free/i.test(messageOf(error))) throw new Failure(EXIT.failed, 'the boot partition is full')
    throw error
  }
}

/** Paths of all files and folders, in lower case, such as `overlays/clock.dtbo`. Errors: Failure. */
export async function namesOnFat(place: FatPlace): Promise<ReadonlySet<string>> {
  const lines = (await runMtool(place, 'mdir', '-b', '-/', '::')).toString().split('\n')
  return new Set(lines.map(line => line.replace(/^::\/|\/$/g, '').toLowerCase()))
}
