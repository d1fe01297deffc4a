import type { StepSettings } from './settings.ts'
import { noteEnding, startOnce } from './unit-ending.ts'
import type { LaunchOptions } from './worker.ts'

export interface UnitOptions extends Pick<LaunchOptions, 'user' | 'writes' | 'cwd'> {
  readonly unit: string
  /** The unit of the service that ordered this one; it is stopped first, and ends what is left. */
  readonly service: string | undefined
  readonly folder: string
  readonly limits: StepSettings['limits']
  /** Until systemd ends it. */
  readonly seconds: number
  readonly env: Readonly<Record<string, string>>
  /** Where it is written how the unit ended. */
  readonly ending: string
}

/** The call of systemd-run(1) that runs `command` as a transient unit and ends with its exit code. Pure. */
export function unitCommand(
  command: readonly [string, ...string[]],
  options: UnitOptions,
): readonly [string, ...string[]] {
  const { unit, folder, cwd = folder, env } = options
  return [
    'systemd-run',
    ...['--quiet', '--pipe', '--wait', '--collect', '--no-ask-password', '--service-type=exec'],
    ...[`--unit=${unit}`, `--working-directory=${cwd}`],
    ...Object.entries(env).map(([name, value]) => `--setenv=${name}=${value}`),
    ...propertiesOf(options).map(each => `--property=${each}`),
    '--',
    // The manager expands variables in words (systemd.service(5), "Command lines"); a pair of $ is one.
    ...command.map(word => word.replaceAll('$', '$$$$')),
  ]
}

function propertiesOf({ user, writes, folder, limits, seconds, service, ending }: UnitOptions): readonly string[] {
  return [
    'Description=Step of a deployment',
    // Units are stopped in the reverse order. A dependency on the service would pass its restart on to the step.
    ...(service === undefined ? [] : [`Before=${service}`]),
    ...startOnce(ending),
    ...[`RuntimeMaxSec=${seconds}`, 'TimeoutStopSec=10', 'KillMode=control-group', 'OOMPolicy=stop'],
    // For what the main process has left behind when it ends: a step that is done does not wait for it, nor fail because of it.
    'KillSignal=SIGKILL',
    noteEnding(ending),
    ...[`MemoryMax=${limits.memoryMegabytes}M`, `TasksMax=${limits.tasks}`],
    ...[`LimitFSIZE=${limits.fileMegabytes}M`, 'LimitCORE=0', 'UMask=0022'],
    ...['PrivateTmp=yes', 'ProtectControlGroups=yes', 'LockPersonality=yes', 'KeyringMode=private'],
    ...(writes === 'folder' ? ['ProtectSystem=strict', `ReadWritePaths=${folder}`, 'ProtectHome=yes'] : []),
    ...(user === undefined ? [] : confined(user)),
  ]
}

/** A step's user keeps what the user has, and gets nothing more. */
const confined = (user: string): readonly string[] => [
  ...[
    `User=${user}`,
    'NoNewPrivileges=yes',
    'CapabilityBoundingSet=',
    'RestrictSUIDSGID=yes',
    'RestrictNamespaces=yes',
  ],
  ...['ProtectKernelModules=yes', 'ProtectKernelTunables=yes', 'ProtectKernelLogs=yes', 'ProtectProc=invisible'],
]
