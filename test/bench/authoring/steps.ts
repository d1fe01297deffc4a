import { basename } from 'node:path'
import type { InlineDescription } from './manifest.ts'

/** A bundle that the agent itself installs. */
export const imageStep = (path: string, version: string): InlineDescription => ({
  handler: 'microsoft/swupdate:2',
  files: [path],
  handlerProperties: { installedCriteria: version, swuFileName: basename(path) },
})

/** A script, and the files that it needs. */
export const scriptStep = (
  path: string,
  { installedCriteria, ...more }: Readonly<Record<string, string>> & { readonly installedCriteria: string },
  files: readonly string[] = [],
): InlineDescription => ({
  handler: 'microsoft/script:1',
  files: [path, ...files],
  handlerProperties: { installedCriteria, scriptFileName: basename(path), ...more },
})

/** Packages; `path`: the APT manifest. */
export const aptStep = (path: string, installedCriteria: string): InlineDescription => ({
  handler: 'microsoft/apt:1',
  files: [path],
  handlerProperties: { installedCriteria },
})
