import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The folder of this product's package.json, from wherever this file was compiled to. */
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
