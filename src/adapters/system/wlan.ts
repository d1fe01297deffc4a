import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { member, text } from '../../domain/members.ts'
import type { Runner } from '../../ports/runner.ts'

/** A wireless interface, as far as anybody may know: never a password. */
export interface Wlan {
  readonly name: string
  /** It makes a network of its own, and is in none. */
  readonly isAccessPoint?: true
  /** The network it is in. */
  readonly ssid?: string
  /** In dBm. */
  readonly signal?: number
}

/**
 * The wireless interfaces of this device: sysfs (`phy80211`), type and SSID as networkctl(1) shows them to everybody, and the signal in
 * /proc/net/wireless. `root`: where `sys` and `proc` are mounted. Never rejects.
 */
export async function readWlans(programs: Runner, root = '/'): Promise<readonly Wlan[]> {
  const net = join(root, 'sys/class/net')
  const names = await readdir(net).catch(() => [])
  const wlans: Wlan[] = []
  for (const name of names.sort()) {
    const isWireless = await readdir(join(net, name, 'phy80211')).catch(() => undefined)
    if (isWireless) wlans.push({ name, ...(await networkOf(programs, name)), ...(await signalOf(name, root)) })
  }
  return wlans
}

async function networkOf(programs: Runner, name: string): Promise<Pick<Wlan, 'ssid' | 'isAccessPoint'>> {
  const options = { signal: AbortSignal.timeout(10_000), timeout: 4000, code: 'INTERNAL' } as const
  const networkctl = (...more: string[]): Promise<string> =>
    programs.run(['networkctl', '--no-pager', '--lines=0', ...more, 'status', name], options)
  const json = await networkctl('--json=short').catch(() => undefined)
  try {
    // Only networkd gives JSON; with NetworkManager, as in Raspberry Pi OS, networkctl asks the kernel for its text.
    if (json === undefined) return ofText(await networkctl())
    const link: unknown = JSON.parse(json)
    const type = member(link, 'WirelessLanInterfaceTypeString')
    if (type === 'ap') return { isAccessPoint: true }
    const ssid = type === 'station' ? text(member(link, 'SSID')) : undefined
    return ssid ? { ssid } : {}
  } catch {
    return {}
  }
}

/** Its SSID is also that of an access point, whose BSSID is nought, and "(null)" while there is none. Pure. */
function ofText(status: string): Pick<Wlan, 'ssid'> {
  const [, ssid, bssid] = /^ *Wi-Fi access point: (.*) \(([0-9a-f:]{17})\)$/im.exec(status) ?? []
  return ssid && ssid !== '(null)' && bssid !== '00:00:00:00:00:00' ? { ssid } : {}
}

async function signalOf(name: string, root: string): Promise<Pick<Wlan, 'signal'>> {
  const table = await readFile(join(root, 'proc/net/wireless'), 'utf8').catch(() => '')
  const fields = table
    .split('\n')
    .map(line => line.trim().split(/\s+/))
    .find(([first]) => first === `${name}:`)
  const level = Number.parseFloat(fields?.[3] ?? '')
  // 0 and -256: not known.
  return level < 0 && level > -120 ? { signal: Math.round(level) } : {}
}

/** Such as `wlan0 is in "Home", signal -52 dBm`. Pure. */
export function describeWlan({ name, isAccessPoint, ssid, signal }: Wlan): string {
  if (isAccessPoint) return `${name} is an access point`
  if (ssid === undefined) return `${name} is in no network`
  return `${name} is in ${JSON.stringify(ssid)}${signal === undefined ? '' : `, signal ${signal} dBm`}`
}
