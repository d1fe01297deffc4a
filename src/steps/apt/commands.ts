import type { AptManifest, AptPackage } from '../../handlers/apt/apt-manifest.ts'

export type Command = readonly [string, ...string[]]

/** So that nothing that apt, dpkg or a maintainer script calls waits for a person, and no hook restarts services on its own. */
export const APT_ENVIRONMENT: Readonly<Record<string, string>> = {
  HOME: '/root',
  DEBIAN_FRONTEND: 'noninteractive',
  DEBCONF_NONINTERACTIVE_SEEN: 'true',
  APT_LISTCHANGES_FRONTEND: 'none',
  NEEDRESTART_MODE: 'l',
  UCF_FORCE_CONFFOLD: '1',
  PAGER: 'cat',
}

export interface AptTerms {
  /** How long apt waits for the lock of another program, in whole seconds. */
  readonly lockSeconds: number
  readonly allowDowngrade: boolean
  /** Whether apt writes its status; only where it gets a pseudoterminal. */
  readonly status: boolean
}

/** Gets the lists of the repositories. */
export const updateCommand = (): Command => ['apt-get', '-q', 'update']

/** Says what an installation would do and fetch, and does nothing. It takes no lock. */
export const planCommand = (manifest: AptManifest, terms: AptTerms): Command => [
  ...install(terms),
  '--print-uris',
  '--',
  ...wordsOf(manifest),
]

export const downloadCommand = (manifest: AptManifest, terms: AptTerms): Command => [
  ...install(terms),
  '--download-only',
  '--',
  ...wordsOf(manifest),
]

/** Configuration files that the device's owner changed stay as they are. */
export const installCommand = (manifest: AptManifest, terms: AptTerms): Command => [
  ...install(terms),
  ...['-o', 'Dpkg::Options::=--force-confdef', '-o', 'Dpkg::Options::=--force-confold'],
  '--',
  ...wordsOf(manifest),
]

/** Completes what a power cut interrupted. */
export const repairCommand: Command = ['dpkg', '--force-confdef', '--force-confold', '--configure', '-a']

/** `paths`: packages in apt's cache. */
export const removeCommand = (paths: readonly string[]): Command => ['rm', '-f', '--', ...paths]

/** The state of the listed packages, as `readStates` takes it. The exit code is 1 when dpkg does not know one of them. */
export const stateCommand = ({ packages }: AptManifest): Command => [
  'dpkg-query',
  '-W',
  `-f=${STATE_FIELDS.map(field => `\${${field}}`).join('\\t')}\\n`,
  '--',
  ...packages.map(({ name }) => name),
]

const STATE_FIELDS = ['Package', 'Architecture', 'Version', 'db:Status-Status', 'db:Status-Eflag']

/**
 * `Pattern-Only`: an unknown name with a dot is not a regular expression. The status goes to the standard output, because a
 * program that is launched has no other descriptor. apt closes that descriptor for dpkg and the maintainer scripts, which have to
 * write: they do so to the pseudoterminal.
 */
function install({ lockSeconds, allowDowngrade, status }: AptTerms): Command {
  return [
    ...(['apt-get', '-q', '-y'] as const),
    ...['-o', `DPkg::Lock::Timeout=${lockSeconds}`, '-o', 'APT::Cmd::Pattern-Only=true'],
    ...(status ? ['-o', 'APT::Status-Fd=1', '-o', 'Dpkg::Use-Pty=true'] : []),
    ...(allowDowngrade ? ['--allow-downgrades'] : []),
    'install',
  ]
}

const wordsOf = ({ packages }: AptManifest): readonly string[] => packages.map(wordOf)

const wordOf = ({ name, version, remove }: AptPackage): string =>
  remove ? `${name}-` : version === undefined ? name : `${name}=${version}`
