import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { messageOf } from '../../domain/errors.ts'
import type { Runner } from '../../ports/runner.ts'

// What else goes on at this device that an update may have to wait for. Nothing here rejects.

/** Names may end with `*`. */
export interface Metered {
  readonly interfaces: readonly string[]
  readonly file?: string
}

/** Why the way to the network is metered; undefined when it is not. `proc`: where /proc is mounted. */
export async function meteredBy({ interfaces, file }: Metered, proc = '/proc'): Promise<string | undefined> {
  if (file !== undefined && (await exists(file))) return `${file} exists`
  if (interfaces.length === 0) return undefined
  const used =
    defaultRoute(await textOf(join(proc, 'net/route'))) ?? defaultRoute6(await textOf(join(proc, 'net/ipv6_route')))
  return used !== undefined && interfaces.some(name => fits(used, name))
    ? `the network is reached by ${used}`
    : undefined
}

const fits = (used: string, name: string): boolean =>
  name.endsWith('*') ? used.startsWith(name.slice(0, -1)) : used === name

interface Route {
  readonly name: string
  readonly metric: number
}

/** Of linux/route.h: up; reject. */
const [UP, REJECT] = [0x1, 0x200]

const isUsed = (flags: number): boolean => (flags & UP) !== 0 && (flags & REJECT) === 0

/** Iface Destination Gateway Flags RefCnt Use Metric Mask …: the metric is decimal (net/ipv4/fib_trie.c). */
function defaultRoute(text = ''): string | undefined {
  return best(
    rows(text).flatMap(([name = '', to, , flags = '', , , metric, mask]): Route[] =>
      to === '00000000' && mask === '00000000' && isUsed(Number.parseInt(flags, 16))
        ? [{ name, metric: Number(metric) }]
        : [],
    ),
  )
}

/** Destination, its prefix length, source, its length, next hop, metric, references, use, flags, name (net/ipv6/route.c); all in hex. */
function defaultRoute6(text = ''): string | undefined {
  return best(
    rows(text).flatMap(([to = '', length, , , , metric = '', , , flags = '', name = '']): Route[] =>
      /^0+$/.test(to) && length === '00' && isUsed(Number.parseInt(flags, 16))
        ? [{ name, metric: Number.parseInt(metric, 16) }]
        : [],
    ),
  )
}

const rows = (text: string): string[][] => text.split('\n').map(line => line.trim().split(/\s+/))

const best = (routes: readonly Route[]): string | undefined =>
  routes.reduce<Route | undefined>((a, b) => (a && a.metric <= b.metric ? a : b), undefined)?.name

export interface Busy {
  readonly units: readonly string[]
  readonly file?: string
}

const UNITS_TIMEOUT = 10_000

/** What keeps the device busy; undefined when nothing does. Units whose state is not known do. */
export async function busyWith({ units, file }: Busy, runner: Pick<Runner, 'run'>): Promise<string | undefined> {
  if (file !== undefined && (await exists(file))) return `${file} exists`
  if (units.length === 0) return undefined
  try {
    const signal = AbortSignal.timeout(2 * UNITS_TIMEOUT)
    const argv = ['systemctl', 'show', '--property=ActiveState', '--value', '--', ...units] as const
    const said = await runner.run(argv, { signal, timeout: UNITS_TIMEOUT, code: 'INTERNAL' })
    // A line for each unit, with blank ones in between.
    const states = said.split('\n').filter(line => line !== '')
    const at = states.findIndex(state => state !== 'inactive' && state !== 'failed')
    return at < 0 ? undefined : `${units[at]} is ${states[at]}`
  } catch (error) {
    return `whether ${units.join(' or ')} is active is not known: ${messageOf(error)}`
  }
}

/** Per cent left in the emptiest battery of the device that is being discharged; undefined without one. */
export async function batteryLeft(sys = '/sys'): Promise<number | undefined> {
  const folder = join(sys, 'class/power_supply')
  const levels: number[] = []
  for (const name of await readdir(folder).catch(() => [])) {
    const read = async (file: string): Promise<string> => ((await textOf(join(folder, name, file))) ?? '').trim()
    // Scope "Device": of something that is attached, such as a keyboard.
    if ((await read('type')) !== 'Battery' || (await read('scope')) === 'Device') continue
    const capacity = await read('capacity')
    if ((await read('status')) === 'Discharging' && /^\d+$/.test(capacity)) levels.push(Number(capacity))
  }
  return levels.length === 0 ? undefined : Math.min(...levels)
}

/** Under-voltage has occurred: bit 16 of the firmware's word (Raspberry Pi documentation, `vcgencmd get_throttled`). */
const UNDER_VOLTAGE_SEEN = 0x10000

/** What the Pi kernel's file says; undefined on kernels without it. */
export async function wasUnderVoltage(sys = '/sys'): Promise<boolean | undefined> {
  const platform = join(sys, 'devices/platform')
  for (const soc of (await readdir(platform).catch(() => [])).filter(name => name.startsWith('soc'))) {
    for (const name of (await readdir(join(platform, soc)).catch(() => [])).filter(each =>
      each.endsWith(':firmware'),
    )) {
      const word = (await textOf(join(platform, soc, name, 'get_throttled')))?.trim()
      if (word !== undefined && /^[0-9a-f]+$/i.test(word)) return (Number.parseInt(word, 16) & UNDER_VOLTAGE_SEEN) !== 0
    }
  }
  return undefined
}

export const exists = (file: string): Promise<boolean> =>
  stat(file).then(
    () => true,
    () => false,
  )

export const textOf = (file: string): Promise<string | undefined> => readFile(file, 'utf8').catch(() => undefined)
