import { readFileSync } from 'node:fs'

/** The version of this package, from the nearest package.json above this file. */
export function version(): string {
  for (let folder = new URL('.', import.meta.url); ; folder = new URL('..', folder)) {
    try {
      return JSON.parse(readFileSync(new URL('package.json', folder), 'utf8')).version
    } catch (error) {
      if (folder.pathname === '/') throw error
    }
  }
}
