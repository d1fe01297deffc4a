import { readFile } from 'node:fs/promises'
import * as v from 'valibot'
import { type LedOptions, openLeds } from './adapters/leds.ts'
import { type Config, leds, readConfig } from './config.ts'
import { ConfigError } from './domain/errors.ts'
import type { Log } from './ports.ts'

/**
 * As readConfig; a file that is refused is also seen on the lights. They stay lit when this process ends, as sysfs keeps
 * the level of a line.
 */
export async function readConfigOrShow(file: string): Promise<Config> {
  try {
    return await readConfig(file)
  } catch (error) {
    if (error instanceof ConfigError) await showRefusal(file)
    throw error
  }
}

async function showRefusal(file: string): Promise<void> {
  const options = ledsIn(await readFile(file, 'utf8').catch(() => ''))
  if (options) (await openLeds(options, SILENT)).show('failed')
}

/** The lights that a configuration names, read past its mistakes: the section has no section in it. */
export function ledsIn(text: string): LedOptions | undefined {
  const section = /"leds"\s*:\s*(\{[^{}]*\})/.exec(text)?.[1]
  if (section === undefined) return undefined
  try {
    const { green, red, activeLow } = v.parse(leds, JSON.parse(section))
    return { green, red, activeLow }
  } catch {
    return undefined
  }
}

/** The one line that a refusal costs is the error itself. */
const SILENT: Log = { debug() {}, info() {}, warn() {}, error() {} }
