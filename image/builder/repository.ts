import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The folder with this product's package.json, wherever this file was compiled to. */
export function repositoryRoot(): string {
  for (let dir = dirname(fileURLToPath(import.meta.url)); dir !== dirname(dir); dir = dirname(dir)) {
    try {
      if (JSON.parse(readFileSync(join(dir, 'package.json'), 'utf8')).name === 'pi-adu-agent') return dir
    } catch {
      // not here: one up
    }
  }
  throw new Error('package.json of pi-adu-agent not found')
}

/** When the checkout was committed, in seconds since 1970; a fixed time without git. */
export function commitTime(): number {
  try {
    return Number(
      execFileSync('git', ['log', '-1', '--format=%ct'], {
        cwd: repositoryRoot(),
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      }),
    )
  } catch {
    return 1_760_000_000
  }
}
