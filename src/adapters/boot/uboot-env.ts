import { readFile } from 'node:fs/promises'
import * as v from 'valibot'
import { AgentError, messageOf } from '../../domain/errors.ts'
import { type BootState, isSlotName, other, type SlotName } from '../../domain/slot.ts'
import type { BootControl } from '../../ports/boot-control.ts'
import type { Runner } from '../../ports/runner.ts'
import { programs } from '../system/exec.ts'

export interface UbootEnvOptions {
  /** `fw_env.config` (fw_printenv(8)) that names the boot state file; it must be at most 512 bytes: one sector. */
  readonly fwEnvConfig: string
  /** The file with `adu.slot=a` or `adu.slot=b` from the boot script; normally /proc/cmdline. */
  readonly kernelCommandLine: string
  /** Starts that a new slot gets before the boot script falls back. */
  readonly tries: number
}

type Variables = Pick<BootState, 'primary' | 'trial' | 'tries'>

const variables = v.object({
  primary: v.picklist(['a', 'b']),
  trial: v.picklist(['none', 'pending', 'failed']),
  tries: v.pipe(v.string(), v.regex(/^\d$/), v.transform(Number)),
})

const TIMEOUT = 30_000

/**
 * BootControl with fw_printenv and fw_setenv. The boot script reads the variables `primary`, `trial` and `tries`, and counts `tries`
 * down. One `fw_setenv -s` writes all three: it overwrites the file in place and fsyncs it.
 */
export class UbootEnv implements BootControl {
  readonly #options: UbootEnvOptions
  readonly #runner: Runner

  constructor(options: UbootEnvOptions, runner: Runner = programs) {
    this.#options = options
    this.#runner = runner
  }

  async read(signal: AbortSignal): Promise<BootState> {
    const [booted, stored] = await Promise.all([this.#booted(), this.#read(signal)])
    return { booted, ...stored }
  }

  arm(slot: SlotName, signal: AbortSignal): Promise<void> {
    return this.#write({ primary: slot, trial: 'pending', tries: this.#options.tries }, signal)
  }

  /** The boot script starts the trial at the next restart, whatever causes it. */
  async start(): Promise<readonly string[]> {
    return []
  }

  async commit(signal: AbortSignal): Promise<void> {
    return this.#write({ primary: await this.#booted(), trial: 'none', tries: 0 }, signal)
  }

  async fallBack(signal: AbortSignal): Promise<void> {
    return this.#write({ primary: other(await this.#booted()), trial: 'failed', tries: 0 }, signal)
  }

  async #booted(): Promise<SlotName> {
    const { kernelCommandLine } = this.#options
    const text = await readFile(kernelCommandLine, 'utf8').catch(cause => {
      throw new AgentError('BOOT_STATE', `cannot read ${kernelCommandLine}: ${messageOf(cause)}`, { cause })
    })
    const slot = /(?:^|\s)adu\.slot=(\S+)/.exec(text)?.[1]
    if (isSlotName(slot)) return slot
    throw new AgentError(
      'BOOT_STATE',
      `${kernelCommandLine} has no adu.slot=a or adu.slot=b: was this system started by our boot script?`,
    )
  }

  async #read(signal: AbortSignal): Promise<Variables> {
    const { fwEnvConfig } = this.#options
    const text = await this.#runner.run(['fw_printenv', '-c', fwEnvConfig], {
      signal,
      timeout: TIMEOUT,
      code: 'BOOT_STATE',
    })
    const lines = text.split('\n').map(line => line.split(/=(.*)/s).slice(0, 2))
    const result = v.safeParse(variables, Object.fromEntries(lines))
    if (result.success) return result.output
    const [issue] = result.issues
    throw new AgentError('BOOT_STATE', `the boot state (${fwEnvConfig}): ${v.getDotPath(issue)}: ${issue.message}`)
  }

  async #write(wanted: Variables, signal: AbortSignal): Promise<void> {
    if (same(await this.#read(signal), wanted)) return
    const input = `primary=${wanted.primary}\ntrial=${wanted.trial}\ntries=${wanted.tries}\n`
    const argv = ['fw_setenv', '-c', this.#options.fwEnvConfig, '-s', '-'] as const
    await this.#runner.run([...argv], { signal, timeout: TIMEOUT, input, code: 'BOOT_STATE' })
    if (!same(await this.#read(signal), wanted)) {
      throw new AgentError('BOOT_STATE', 'fw_setenv succeeded, but the boot state is not what was written')
    }
  }
}

const same = (one: Variables, two: Variables): boolean =>
  one.primary === two.primary && one.trial === two.trial && one.tries === two.tries
