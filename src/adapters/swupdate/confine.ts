import { access, constants, realpath } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { ConfigError, messageOf } from '../../domain/errors.ts'
import type { Log } from '../../ports/log.ts'
import { run } from '../system/exec.ts'

/** Paths that a confined program may open, with everything below a folder. Missing paths are skipped. */
export interface Grants {
  readonly read?: readonly string[]
  /** Read and execute. */
  readonly run?: readonly string[]
  /** Read and write, of files and devices that exist. */
  readonly write?: readonly string[]
  /** Everything, also new files and sockets. */
  readonly own?: readonly string[]
}

/** The command line that runs `argv` with only `grants`. */
export type Confine = (argv: readonly [string, ...string[]], grants: Grants) => readonly [string, ...string[]]

/**
 * Landlock (landlock(7)): rules for files, no TCP, and no signals or abstract sockets to the outside, as far as this kernel supports
 * it. The system call numbers are the same on every architecture; the rights are those of linux/landlock.h. In Perl, which every
 * Debian has (perl-base): setpriv(1) of Debian 12 cannot do it, and that of Debian 13 only for files. A path that cannot be opened
 * grants nothing.
 */
const LAUNCHER = `
use strict;
sub fail { print STDERR "[ERROR] : it cannot be confined: $_[0]\\n"; exit 126 }
my $abi = syscall 444, 0, 0, 1;
fail "this kernel has no Landlock ($!)" if $abi < 1;
my $all = (1 << ($abi < 2 ? 13 : $abi < 3 ? 14 : $abi < 5 ? 15 : 16)) - 1;
my $ruleset = pack 'QQQ', $all, $abi < 4 ? 0 : 3, $abi < 6 ? 0 : 3;
my $rules = syscall 444, $ruleset, length $ruleset, 0;
fail "landlock_create_ruleset: $!" if $rules < 0;
my %rights = (read => 0xc, run => 0xd, write => 0xc006, own => $all);
while (defined(my $word = shift)) {
  last if $word eq '--';
  my ($kind, $path) = split /:/, $word, 2;
  sysopen my $place, $path, 0x200000 or next;
  my $rule = pack 'Ql', $rights{$kind} & $all & (-d $place ? -1 : 0xc007), fileno $place;
  fail "landlock_add_rule $path: $!" if syscall(445, $rules, 1, $rule, 0) < 0;
}
fail "landlock_restrict_self: $!" if syscall(446, $rules, 0) < 0;
if ($ARGV[0] eq '') { print $abi; exit }
exec { $ARGV[0] } @ARGV;
fail "$ARGV[0]: $!";
`

/** What every Debian program needs to start: libraries, time zone, randomness. No folder that may hold configuration. */
const SYSTEM: Grants = {
  run: ['/usr', '/bin', '/sbin', '/lib', '/lib64'],
  read: [
    ...['/etc/ld.so.cache', '/etc/ld.so.preload', '/etc/localtime', '/etc/ssl/openssl.cnf', '/etc/gnutls/config'],
    ...['/dev/zero', '/dev/random', '/dev/urandom', '/sys/devices/system/cpu'],
  ],
  write: ['/dev/null'],
}

const confine: Confine = (argv, grants) => [...launcher(), ...words(SYSTEM), ...words(grants), '--', ...argv]

/** Root keeps its user id, but of its capabilities only access to other users' files, which Landlock limits. Ends with the agent. */
function launcher(): readonly [string, ...string[]] {
  const root = process.getuid?.() === 0 ? ['--bounding-set=-all,+dac_override', '--inh-caps=-all'] : []
  return ['setpriv', '--pdeathsig=KILL', '--no-new-privs', ...root, 'perl', '-e', LAUNCHER, '--']
}

const words = (grants: Grants): string[] =>
  Object.entries(grants).flatMap(([kind, paths]: [string, readonly string[]]) => paths.map(path => `${kind}:${path}`))

/**
 * How programs are confined on this machine, found by trying, and logged in one line. `auto`: as far as the kernel supports it.
 * Errors: ConfigError when `require` is not possible.
 */
export async function confinement(mode: 'auto' | 'require' | 'off', log: Log): Promise<Confine> {
  const unconfined: Confine = argv => argv
  if (mode === 'off') {
    log.warn('swupdate.not-confined', { why: 'piAdu.swupdate.confine is off' })
    return unconfined
  }
  try {
    const probe = { signal: new AbortController().signal, timeout: 10_000, code: 'INTERNAL' } as const
    const landlock = Number(await run([...launcher(), ...words(SYSTEM), '--', ''], probe))
    log.info('swupdate.confined', { landlock })
    return confine
  } catch (error) {
    const why = messageOf(error)
    if (mode === 'require') throw new ConfigError(`piAdu.swupdate.confine is "require", but SWUpdate cannot be: ${why}`)
    log.warn('swupdate.not-confined', { why: `SWUpdate can open what the agent can: ${why}` })
    return unconfined
  }
}

/** The path as execvp(3) finds it; undefined when not installed. */
export async function programFile(name: string): Promise<string | undefined> {
  for (const folder of (process.env.PATH ?? '').split(delimiter).filter(Boolean)) {
    const file = join(folder, name)
    const runs = await access(file, constants.X_OK).then(
      () => true,
      () => false,
    )
    if (runs) return realpath(file)
  }
  return undefined
}
