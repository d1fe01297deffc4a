import { readdir, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import * as v from 'valibot'
import { AgentError, messageOf } from '../../domain/errors.ts'
import { GATE_NAMES, type GateName, type LocalFacts, type Lock } from '../../domain/gate.ts'
import { onOneLine } from '../../domain/terminal.ts'
import { parseJsonText } from '../../domain/text.ts'
import type { Conditions } from '../../ports/conditions.ts'
import type { Runner } from '../../ports/runner.ts'
import { programs } from './exec.ts'
import {
  type Busy,
  batteryLeft,
  busyWith,
  exists,
  type Metered,
  meteredBy,
  textOf,
  wasUnderVoltage,
} from './surroundings.ts'
import type { TimeFloor } from './time-floor.ts'

export interface ConditionsOptions {
  /** The folder in which each file is a lock. */
  readonly locks: string
  /** The gate that consent opens; undefined: nobody is asked. */
  readonly consentFor?: GateName
  /** The file whose presence is consent. */
  readonly consentFile: string
  /** Exists once the clock was set from the network. */
  readonly timeSyncFile: string
  readonly time: Pick<TimeFloor, 'behind' | 'built'>
  /** Locks that this process holds, beside those in the folder. */
  readonly held?: () => readonly Lock[]
  readonly metered?: Metered
  readonly busy?: Busy
  /** Per cent; undefined: batteries do not count. */
  readonly batteryBelow?: number
  /** Whether under-voltage is remembered. */
  readonly underVoltageSinceBoot?: boolean
  readonly runner?: Pick<Runner, 'run'>
  /** Where sysfs and procfs are mounted. */
  readonly sys?: string
  readonly proc?: string
}

/** Milliseconds between two looks at the supply voltage. */
const VOLTAGE_LOOK = 10_000

/** Locks in the folder that are read, and locks that one process holds. */
export const MAX_LOCKS = 100
const MAX_LOCK_BYTES = 4096

const lockSchema = v.strictObject({
  gates: v.exactOptional(v.array(v.picklist(GATE_NAMES)), [...GATE_NAMES]),
  until: v.exactOptional(v.pipe(v.string(), v.isoTimestamp())),
  why: v.exactOptional(v.pipe(v.string(), v.maxLength(200))),
})

/** Files on this device. */
export class SystemConditions implements Conditions {
  readonly #options: ConditionsOptions
  /** Kernels other than the Pi's forget it at once. */
  #wasUnderVoltage = false

  constructor(options: ConditionsOptions) {
    this.#options = options
    if (options.underVoltageSinceBoot) setInterval(() => void this.#underVoltage(), VOLTAGE_LOOK).unref()
  }

  async read(): Promise<LocalFacts> {
    const { locks, held = () => [], consentFor, consentFile, time, sys, proc } = this.#options
    const { metered, busy, batteryBelow, underVoltageSinceBoot = false, runner = programs } = this.#options
    return {
      locks: [...held(), ...(await locksIn(locks))],
      consent: consentFor === undefined ? undefined : await exists(consentFile),
      underVoltage: await this.#underVoltage(),
      wasUnderVoltage: underVoltageSinceBoot && ((await wasUnderVoltage(sys)) || this.#wasUnderVoltage),
      battery: batteryBelow === undefined ? undefined : await batteryLeft(sys),
      metered: metered && (await meteredBy(metered, proc)),
      busy: busy && (await busyWith(busy, runner)),
      timeTrusted: await isTimeTrusted(this.#options),
      notBefore: time.built,
    }
  }

  async #underVoltage(): Promise<boolean | undefined> {
    const isLow = await underVoltage(this.#options.sys)
    if (isLow) this.#wasUnderVoltage = true
    return isLow
  }

  async forgetConsent(): Promise<void> {
    const { consentFile } = this.#options
    await rm(consentFile, { force: true }).catch(cause => {
      throw new AgentError('INTERNAL', `the consent ${consentFile} cannot be removed: ${messageOf(cause)}`, { cause })
    })
  }
}

/** Whether the clock was set from the network, and is not certainly wrong. */
export const isTimeTrusted = async ({
  time,
  timeSyncFile,
}: Pick<ConditionsOptions, 'time' | 'timeSyncFile'>): Promise<boolean> =>
  time.behind() === 0 && (await exists(timeSyncFile))

/** Whether the kernel's raspberrypi-hwmon reports too low a voltage: `in0_lcrit_alarm` of the chip `rpi_volt`; undefined without it. */
export async function underVoltage(sys = '/sys'): Promise<boolean | undefined> {
  const folder = join(sys, 'class/hwmon')
  for (const chip of await readdir(folder).catch(() => [])) {
    if ((await textOf(join(folder, chip, 'name')))?.trim() !== 'rpi_volt') continue
    const alarm = await textOf(join(folder, chip, 'in0_lcrit_alarm'))
    return alarm === undefined ? undefined : alarm.trim() === '1'
  }
  return undefined
}

/** An empty file locks everything. One that cannot be understood does too, because its owner wants something to wait. */
async function locksIn(folder: string): Promise<readonly Lock[]> {
  const names = await readdir(folder).catch(() => [])
  const visible = names.filter(name => !name.startsWith('.')).sort()
  const locks = await Promise.all(visible.slice(0, MAX_LOCKS).map(name => lockOf(name, join(folder, name))))
  return locks.filter(lock => lock !== undefined)
}

async function lockOf(fileName: string, file: string): Promise<Lock | undefined> {
  const name = onOneLine(fileName).slice(0, 64)
  const everything = { name, gates: GATE_NAMES, until: undefined }
  try {
    const found = await stat(file)
    if (!found.isFile() || found.size > MAX_LOCK_BYTES) throw new Error('it is not a small file')
    const text = (await readFile(file, 'utf8')).trim()
    if (text === '') return { ...everything, why: undefined }
    const { gates, until, why } = v.parse(lockSchema, parseJsonText(text))
    const end = until === undefined ? undefined : Date.parse(until)
    if (Number.isNaN(end)) throw new Error(`until is not a time like ${new Date(0).toISOString()}`)
    return { name, gates, until: end, why: why === undefined ? undefined : onOneLine(why) }
  } catch (error) {
    // Taken away since the folder was read.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    return { ...everything, why: `its file cannot be understood (${onOneLine(messageOf(error)).slice(0, 100)})` }
  }
}
