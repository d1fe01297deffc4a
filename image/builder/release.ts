import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { IMAGE, linesOf } from './data.ts'

/** What an image is built from. */
export interface Release {
  /** After the names of its cache entries and files, so that it does not displace those of the default. */
  readonly kinds: '' | '-next'
  /** As in suites.txt. */
  readonly suites: readonly string[]
  /** For apt, as in apt_preferences(5). */
  readonly preferences: string
  /** Inputs of its packages beside the suites. */
  readonly inputs: readonly string[]
  /** Copied over the packages, after image/rootfs. */
  readonly folders: readonly string[]
}

/** The default: Debian 13. */
export const TRIXIE: Release = {
  kinds: '',
  suites: linesOf('suites.txt'),
  preferences: '',
  inputs: [],
  folders: [],
}

/** Debian 13 with what the next one will have: kernel and SWUpdate of its backports (image/next). */
export function nextRelease(): Release {
  const preferences = readFileSync(join(IMAGE, 'next/preferences'), 'utf8')
  return {
    kinds: '-next',
    suites: [...TRIXIE.suites, ...linesOf('next/suites.txt')],
    preferences,
    inputs: [preferences],
    folders: [join(IMAGE, 'next/rootfs')],
  }
}
