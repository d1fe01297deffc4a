import { isPreseed } from '../../src/preseed/read.ts'
import { linesOf } from './data.ts'

/** A user of a layer. The number is given, because files on the data partition outlive the system that made them. */
export interface User {
  readonly name: string
  readonly id: number
}

/** A line of a list, in the form that the builder uses. */
export interface Row {
  readonly text: string
  readonly user?: User
}

/** Parsers of one line each. All are pure, and give the row or the reason why the line is refused. */
type Parser = (line: string) => Row | string

const NAME = /^[A-Za-z0-9_][A-Za-z0-9._-]*$/

/** The kernel and what boots it are the image's own. */
const BOOT_PACKAGE =
  /^(linux-(image|headers|modules|base|binary)|u-boot|raspi-firmware|rpi-eeprom|grub|systemd-boot|initramfs-tools|dracut)/

/** A name that ends with a hyphen tells apt to remove the package. */
export const packageName: Parser = line => {
  if (!/^[a-z0-9][a-z0-9+.-]*[a-z0-9+.]$/.test(line)) return 'this is not the name of a Debian package'
  return BOOT_PACKAGE.test(line) ? 'kernel, firmware and bootloader belong to the image' : { text: line }
}

export const unitName: Parser = line => {
  if (line.includes('/')) return 'name the unit, not its path'
  if (!/^[\w:.@-]+\.(service|timer|path|socket|target|mount)$/.test(line)) return 'this is not the name of a unit'
  return line.startsWith('pi-adu') ? 'units of the agent belong to the image' : { text: line }
}

const [FIRST_ID, LAST_ID] = [2000, 59_999]
const TAKEN = ['root', 'adu', 'adu-steps', 'owner', 'nobody']

export const user: Parser = line => {
  const [name = '', number = '', ...rest] = line.split(/\s+/)
  if (rest.length > 0 || !/^\d{1,6}$/.test(number)) return 'a line is NAME NUMBER'
  if (!/^[a-z_][a-z0-9_-]{0,30}$/.test(name)) return 'this is not the name of a user'
  if (TAKEN.includes(name)) return `the user ${name} belongs to the system`
  const id = Number(number)
  if (id < FIRST_ID || id > LAST_ID) return `the number must be from ${FIRST_ID} to ${LAST_ID}`
  return { text: `${name} ${id}`, user: { name, id } }
}

/** What the system has at the top of the data partition: its folders, and files of the initramfs and of a factory reset. */
const SYSTEM_DATA: ReadonlySet<string> = new Set([
  ...linesOf('data.txt').map(line => line.split(/\s+/)[3]!.split('/')[0]!),
  ...['machine-id', 'machine-id.new', 'lost+found', 'reset', 'reset.new'],
])

function dataPath(path: string): string | undefined {
  const parts = path.split('/')
  if (path.startsWith('/')) return 'the path is relative to the data partition'
  if (!parts.every(part => NAME.test(part))) return 'this is not a path below the data partition'
  return SYSTEM_DATA.has(parts[0]!) ? `/data/${parts[0]} belongs to the system` : undefined
}

function modeFlaw(mode: string): string | undefined {
  if (!/^0[0-7]{3}$/.test(mode)) return 'the mode is like 0750'
  return (Number.parseInt(mode, 8) & 0o002) !== 0 ? 'a mode that lets everyone write is refused' : undefined
}

export const dataFolder: Parser = line => {
  const [mode = '', owner = '', group = '', path = '', ...rest] = line.split(/\s+/)
  if (path === '' || rest.length > 0) return 'a line is MODE OWNER GROUP FOLDER'
  const flaw = modeFlaw(mode) ?? dataPath(path)
  return flaw ?? { text: [mode, owner, group, path].join(' ') }
}

/** A file that is taken out of a package that is not installed. */
export const firmwareFile: Parser = line => {
  const [name = '', path = '', ...rest] = line.split(/\s+/)
  if (path === '' || rest.length > 0) return 'a line is PACKAGE FILE'
  if (!/^firmware-[a-z0-9+.-]*[a-z0-9]$/.test(name)) return 'the package has a name like firmware-brcm80211'
  if (!path.split('/').every(part => /^[A-Za-z0-9_][\w.,+-]*$/.test(part)))
    return 'the file is relative to usr/lib/firmware'
  return { text: `${name} ${path}` }
}

export const moduleName: Parser = line =>
  /^[\w-]{1,64}$/.test(line) ? { text: line } : 'this is not the name of a kernel module'

/** The firmware cuts longer lines (config.txt, "File format"). */
const MAX_CONFIG_LINE = 98
/** What chooses kernel, device tree and boot files is the image's. */
const CONFIG_NAME =
  /^(dtoverlay|dtparam|gpio|gpu_mem\w*|hdmi_\w+|display_\w+|disable_\w+|camera_\w+|max_usb_current|usb_max_current_enable|arm_freq|arm_boost|over_voltage\w*|temp_limit|force_turbo|avoid_warnings)=\S/
const FILTER = /^\[(all|none|pi3|pi3\+|pi4|pi400|cm4|pi02|board-type=0x[0-9a-f]+)\]$/

export const bootLine: Parser = line => {
  if (line.length > MAX_CONFIG_LINE) return `the firmware reads ${MAX_CONFIG_LINE} characters of a line`
  if (!/^[\x20-\x7e]+$/.test(line)) return 'config.txt is ASCII'
  // With 16 MB the firmware loads start_cd.elf, with start_x=1 start_x.elf, and the board does not start without these files.
  const memory = /^gpu_mem\w*=(.*)$/.exec(line)
  if (memory && !(Number(memory[1]) > 16))
    return 'gpu_mem must be more than 16: for less, the firmware needs files that the image does not have'
  if (FILTER.test(line) || CONFIG_NAME.test(line)) return { text: line }
  return 'a layer may not set this in config.txt'
}

/** Files of the boot partition that are not a layer's. */
const BOOT_FILE =
  /^(du-config\.json|(hub|content)-ca\.pem|(swupdate|device)\.(pem|key)|dps\.key|authorized_keys|extra\.env|factory-reset|overlays|uboot\.env|boot\..*|u-boot.*|.*\.(dtb|dtbo|elf|dat|bin|txt|img|toml))$/i

export const secret: Parser = line => {
  const [name = '', target = '', mode = '', owner = '', ...rest] = line.split(/\s+/)
  if (owner === '' || rest.length > 0) return 'a line is FILE TARGET MODE OWNER'
  if (!NAME.test(name) || name.length > 64) return 'this is not the name of a file on the boot partition'
  // FAT ignores dots at the end.
  if (name.endsWith('.')) return 'this is not the name of a file on the boot partition'
  if (BOOT_FILE.test(name) || isPreseed(name)) return `the file ${name} has a meaning of its own on the boot partition`
  const flaw = dataPath(target) ?? modeFlaw(mode)
  if (flaw) return flaw
  if (!target.includes('/')) return 'the target is a file in a folder of data.txt'
  return (Number.parseInt(mode, 8) & 0o007) === 0
    ? { text: [name, target, mode, owner].join(' ') }
    : 'a secret that everyone can read is refused'
}
