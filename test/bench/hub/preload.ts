import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** What PI_ADU_BENCH tells the preload: TLS connections to `host` and `names` go to these local ports. */
export interface Bench {
  readonly host: string
  /** Further names that lead here. */
  readonly names?: readonly string[]
  readonly ports: Readonly<Record<string, number>>
  readonly caFile: string
}

/** The environment in which a Node program, and its children, reach the bench under the host name of the cloud. */
export function preloadEnvironment(bench: Bench, base: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const require = `--require ${JSON.stringify(preloadFile())}`
  return {
    ...base,
    NODE_OPTIONS: base.NODE_OPTIONS ? `${base.NODE_OPTIONS} ${require}` : require,
    PI_ADU_BENCH: JSON.stringify(bench),
  }
}

/** The preload is not TypeScript, so it stays in the source tree: found from the repository's root, also when we run from dist. */
export function preloadFile(): string {
  for (let dir = import.meta.dirname; dir !== dirname(dir); dir = dirname(dir)) {
    const manifest = join(dir, 'package.json')
    if (existsSync(manifest) && JSON.parse(readFileSync(manifest, 'utf8')).name === 'pi-adu-agent') {
      return join(dir, 'test/bench/preload.cjs')
    }
  }
  throw new Error('the repository of pi-adu-agent was not found above this file')
}
