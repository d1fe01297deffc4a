import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { IMAGE, linesOf, links } from './data.ts'

const SYSTEMD = ['etc/systemd', 'usr/lib/systemd', 'usr/local/lib/systemd']
/** Where systemd finds units (systemd.unit(5), "Unit File Load Path"). */
const UNIT_FOLDERS = [
  ...SYSTEMD.map(folder => `${folder}/system`),
  ...['etc/systemd/system.control', 'etc/systemd/system.attached'],
]
const PROGRAM_FOLDERS = ['usr/bin', 'usr/sbin', 'usr/local/bin', 'usr/local/sbin']
/** Programs that agent and step service run: a file of this name, anywhere in PATH, could run in their place. */
const RUN_BY_AGENT = [
  ...['node', 'swupdate', 'perl', 'setpriv', 'fw_setenv', 'fw_printenv', 'openssl', 'systemd-run', 'systemctl'],
  ...['systemd-notify', 'networkctl', 'journalctl', 'getent', 'flock', 'mkfifo', 'lsblk', 'ip', 'rm'],
]

/** Trees and files that a layer may not touch, with the reason. */
const PROTECTED: readonly [path: string, why: string][] = [
  ...['dev', 'proc', 'run', 'sys', 'tmp', 'var', 'home'].map(
    path => [path, 'it is not part of a slot: other things are mounted there'] as [string, string],
  ),
  ['data', 'the data partition outlives the system: use data.txt'],
  ['boot', 'kernel and boot state belong to the image'],
  ...['bin', 'sbin', 'lib', 'lib64'].map(path => [path, `write usr/${path} instead`] as [string, string]),
  ...['passwd', 'group', 'shadow', 'gshadow'].map(
    name => [`etc/${name}`, 'users belong to users.txt'] as [string, string],
  ),
  ...['adu-version', 'hwrevision', 'swupdate', 'pi-adu', 'machine-id', 'resolv.conf'].map(
    name => [`etc/${name}`, 'it belongs to the system'] as [string, string],
  ),
  ['etc/init.d', 'use a unit of systemd'],
  ['usr/lib/pi-adu', 'it belongs to the agent'],
  ['usr/lib/clock-epoch', 'it belongs to the system'],
  ['usr/lib/modules', 'kernel modules belong to modules.txt'],
  ['usr/lib/systemd/systemd', 'it belongs to the system'],
  ...SYSTEMD.flatMap(folder =>
    ['system-generators', 'system-environment-generators'].map(
      name => [`${folder}/${name}`, 'a generator runs before anything is checked'] as [string, string],
    ),
  ),
  // The root file system is read-only: nothing makes these users at the start.
  ...['etc', 'usr/lib', 'usr/local/lib'].map(
    folder => [`${folder}/sysusers.d`, 'users belong to users.txt'] as [string, string],
  ),
  ['usr/sbin/init', 'it belongs to the system'],
  ...UNIT_FOLDERS.flatMap(folder =>
    ['data.mount', 'data.mount.d', 'mount.d', 'systemd-networkd.service'].map(
      name => [`${folder}/${name}`, 'it belongs to the system'] as [string, string],
    ),
  ),
  // What the build writes there itself would replace a layer's.
  ['etc/systemd/system/default.target', 'the image starts multi-user.target: let that want your unit'],
  ...linesOf('units.txt')
    .map(line => line.split(/\s+/))
    .filter(([verb]) => verb === 'mask')
    .map(([, unit]) => [`etc/systemd/system/${unit}`, 'the image masks this unit'] as [string, string]),
  // Drop-ins for all units of a type, and for all whose name begins with "pi-" (systemd.unit(5)).
  ...UNIT_FOLDERS.flatMap(folder =>
    ['service', 'socket', 'timer', 'path'].flatMap(type =>
      [`${type}.d`, `pi-.${type}.d`].map(
        name =>
          [`${folder}/${name}`, "it is a drop-in for the agent's units as well: name your own unit"] as [
            string,
            string,
          ],
      ),
    ),
  ),
  ...PROGRAM_FOLDERS.flatMap(folder =>
    RUN_BY_AGENT.map(name => [`${folder}/${name}`, 'the agent runs the program of this name'] as [string, string]),
  ),
]

/** The image's own files, relative to the root. */
const OWN: ReadonlySet<string> = new Set([
  ...links().map(([path]) => path),
  ...readdirSync(join(IMAGE, 'rootfs'), { recursive: true, withFileTypes: true })
    .filter(entry => !entry.isDirectory())
    .map(entry => join(entry.parentPath ?? entry.path, entry.name).slice(join(IMAGE, 'rootfs').length + 1)),
])

/** What these lie in. A link there would lead the build to files of the build machine. */
const FOLDERS: ReadonlySet<string> = new Set(
  [...PROTECTED.map(([path]) => path), ...OWN].flatMap(path => {
    const parts = path.split('/')
    return parts.slice(1).map((_, i) => parts.slice(0, i + 1).join('/'))
  }),
)

/** What the owner of a device may say to the step service, although its folders are the system's (src/steps/README.md). */
const OWNERS = /^(etc\/pi-adu\/steps\.json|usr\/lib\/pi-adu\/handlers\.d\/[^/]+)$/

/** Why a layer may not bring this file of the root file system; undefined when it may. Pure. */
export function whyProtected(path: string): string | undefined {
  if (OWNERS.test(path)) return undefined
  for (const [place, why] of PROTECTED) if (path === place || path.startsWith(`${place}/`)) return why
  if (OWN.has(path)) return 'it belongs to the image'
  if (FOLDERS.has(path)) return 'it is a folder in the image'
  // Drop-ins of units, and their rules, by the agent's name wherever they lie.
  return path.split('/').some(part => /(^|-)pi-adu/.test(part)) ? 'it belongs to the agent' : undefined
}
