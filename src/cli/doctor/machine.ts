import { readFile, stat, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { checkLed } from '../../adapters/gpio/kernel-led.ts'
import { globalNumber } from '../../adapters/gpio/line-number.ts'
import { underVoltage } from '../../adapters/system/conditions.ts'
import { bootloaderBuilt } from '../../adapters/system/eeprom.ts'
import type { TimeFloor } from '../../adapters/system/time-floor.ts'
import { dayOf, eepromFlaw } from '../../domain/eeprom.ts'
import { messageOf } from '../../domain/errors.ts'
import { type Finding, fail, ok, skip, warn } from './finding.ts'

/** Free bytes, more than enough for journal, root keys and resume notes. */
const LEAST_SPACE = { fail: 4 << 20, warn: 32 << 20 } as const

/** In degrees Celsius: a Pi slows down at 80. */
const HOT = 80

export function clock(time: Pick<TimeFloor, 'behind'>, now = Date.now()): Finding {
  const behind = time.behind(now)
  const says = `it is ${iso(now)} UTC`
  if (behind === 0) return ok('clock', says)
  const remedy = 'Check time synchronisation: timedatectl timesync-status.'
  return fail('clock', `the clock says ${iso(now)}, but it is ${iso(now + behind)} or later`, remedy)
}

export async function dataFolder(folder: string): Promise<Finding> {
  try {
    const { bavail, bsize } = await statfs(folder)
    const free = bavail * bsize
    const says = `${Math.floor(free / (1 << 20))} MiB are free in ${folder}`
    if (free < LEAST_SPACE.fail) return fail('space', says, 'Remove what fills the data partition: du -xh / | sort -h.')
    if (free < LEAST_SPACE.warn) return warn('space', says, 'Find out what fills the data partition before it is full.')
    return ok('space', says)
  } catch (error) {
    const remedy = `Create ${folder}, on a partition that updates do not replace, owned by the agent's user.`
    return fail('space', `${folder} cannot be used: ${messageOf(error)}`, remedy)
  }
}

/** `sys`: where sysfs is mounted. */
export async function temperature(sys = '/sys'): Promise<Finding> {
  const text = await textOf(join(sys, 'class/thermal/thermal_zone0/temp'))
  if (text === undefined) return skip('temperature', 'this machine shows none')
  const degrees = Math.round(Number(text) / 1000)
  const says = `the processor has ${degrees} °C`
  return degrees < HOT ? ok('temperature', says) : warn('temperature', says, 'Cool the board: it slows itself down.')
}

export async function power(sys = '/sys'): Promise<Finding> {
  const isLow = await underVoltage(sys)
  if (isLow === undefined) return skip('power', 'this machine does not measure its supply voltage')
  if (!isLow) return ok('power', 'the supply voltage is high enough')
  return fail('power', 'the supply voltage is too low', 'Use a stronger power supply and a shorter, thicker cable.')
}

/** Older and newer builds are good; boards without an EEPROM have no such finding. */
export async function eeprom(file?: string): Promise<Finding> {
  const built = await bootloaderBuilt(file)
  if (built === undefined) return skip('eeprom', 'this board does not say which bootloader it has')
  const flaw = eepromFlaw(built)
  if (flaw === undefined) return ok('eeprom', `its bootloader was built on ${dayOf(built)}`)
  return warn('eeprom', flaw, 'Update the EEPROM to 2025-10-08 or later with Raspberry Pi OS on another card.')
}

/** Whether the lights exist. Does not open the lines, because the agent may hold them. */
export async function lights(
  configured: readonly ({ gpio: number } | { led: string })[],
  sys = '/sys',
): Promise<Finding> {
  if (configured.length === 0) return skip('lights', 'no LED is configured')
  try {
    for (const each of configured)
      await ('gpio' in each
        ? globalNumber(each.gpio, join(sys, 'class/gpio'))
        : checkLed(each.led, join(sys, 'class/leds')))
    return ok('lights', configured.map(each => ('gpio' in each ? `GPIO ${each.gpio}` : each.led)).join(' and '))
  } catch (error) {
    return warn('lights', messageOf(error), 'Correct the lights in piAdu.leds; updates work without them.')
  }
}

export async function versionFile(file: string): Promise<Finding> {
  const version = (await textOf(file))?.split('\n')[0]?.trim()
  if (version) return ok('version', `this system is ${version}`)
  const remedy = `Write the version into the first line of ${file} when the image is built.`
  return fail('version', `${file} has no version, so no update can be recognised as installed`, remedy)
}

/** The folder with the owner's checks; undefined when they can be run. */
export async function checksFolder(folder: string): Promise<Finding | undefined> {
  const found = await stat(folder).catch(() => undefined)
  if (found?.isDirectory()) return undefined
  if (!found) return skip('health', `there is no ${folder}, so none of your own checks is run`)
  return fail('health', `${folder} is not a folder`, `Make ${folder} a folder.`)
}

const textOf = (file: string): Promise<string | undefined> =>
  readFile(file, 'utf8').then(
    text => text.trim(),
    () => undefined,
  )

const iso = (time: number): string => new Date(time).toISOString().slice(0, 19).replace('T', ' ')
