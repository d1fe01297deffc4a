import type { AptManifest, AptPackage } from '../../handlers/apt/apt-manifest.ts'

/** What dpkg has of a package. */
export interface PackageState {
  readonly name: string
  readonly architecture: string
  readonly version: string
  /** `installed`, `config-files`, `half-configured` and so on (dpkg-query(1)). */
  readonly status: string
  /** `ok`, or `reinstreq`: the package is broken and must be installed again. */
  readonly flag: string
}

/** The output of `stateCommand`. Lines of another form are left out. */
export function readStates(output: readonly string[]): readonly PackageState[] {
  return output.flatMap(line => {
    const [name, architecture, version, status, flag, ...more] = line.split('\t')
    if (!name || architecture === undefined || version === undefined || !status || !flag || more.length > 0) return []
    return [{ name, architecture, version, status, flag }]
  })
}

/** What dpkg lacks of the manifest, as clauses: `zsh is not installed`. Empty when everything is as listed. */
export const differences = ({ packages }: AptManifest, states: readonly PackageState[]): readonly string[] =>
  packages.flatMap(
    wanted =>
      difference(
        wanted,
        states.filter(state => isFor(wanted, state)),
      ) ?? [],
  )

function difference({ name, version, remove }: AptPackage, states: readonly PackageState[]): string | undefined {
  const present = states.filter(({ status }) => status !== 'not-installed' && status !== 'config-files')
  if (remove) return present.length === 0 ? undefined : `${name} is ${wordsFor(present)}, not removed`
  const right = present.some(state => isWhole(state) && (version === undefined || state.version === version))
  if (right) return undefined
  if (present.length === 0) return `${name} is not installed`
  const isOther = version !== undefined && present.every(state => state.version !== version)
  return `${name} is ${wordsFor(present)}${isOther ? `, not ${version}` : ''}`
}

const isWhole = ({ status, flag }: PackageState): boolean => status === 'installed' && flag === 'ok'

const wordsFor = (states: readonly PackageState[]): string =>
  states.map(state => [...troubleOf(state), state.version || 'without a version'].join(' ')).join(' and ')

const troubleOf = ({ status, flag }: PackageState): readonly string[] => [
  ...(flag === 'ok' ? [] : ['broken']),
  ...(status === 'installed' ? [] : [status]),
]

function isFor({ name }: AptPackage, state: PackageState): boolean {
  const [base, architecture] = name.split(':')
  return state.name === base && (architecture === undefined || [architecture, 'all'].includes(state.architecture))
}
