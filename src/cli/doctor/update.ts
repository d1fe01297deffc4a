import { readFile, stat } from 'node:fs/promises'
import { useOf } from '../../adapters/slot/slot-in-use.ts'
import type { Storage } from '../../adapters/slot/storage.ts'
import { expiry } from '../../adapters/swupdate/certificate-clock.ts'
import { confinement, programFile } from '../../adapters/swupdate/confine.ts'
import { run } from '../../adapters/system/exec.ts'
import { AgentError, messageOf } from '../../domain/errors.ts'
import { type BootState, other, type SlotName } from '../../domain/slot.ts'
import type { BootControl } from '../../ports/boot-control.ts'
import type { Log } from '../../ports/log.ts'
import { type Finding, fail, ok, skip, warn } from './finding.ts'

type Devices = Readonly<Record<SlotName, string>>

/** Slots, boot state, SWUpdate: what an installation needs on this device. */
export async function bootState(boot: BootControl): Promise<readonly [Finding, BootState | undefined]> {
  try {
    const state = await boot.read(new AbortController().signal)
    const { booted, primary, trial, tries } = state
    if (trial === 'pending' && booted === primary) {
      const remedy = 'Wait: the agent commits it when it is healthy, or falls back.'
      return [warn('boot state', `slot ${booted} is on trial, ${tries} more starts`, remedy), state]
    }
    return [ok('boot state', `slot ${booted} is booted, slot ${primary} starts next`), state]
  } catch (error) {
    if (!(error instanceof AgentError)) throw error
    const remedy =
      'Check piAdu.bootState.fwEnvConfig, the file that it names, and adu.slot= in the kernel command line.'
    return [fail('boot state', error.message, remedy), undefined]
  }
}

export async function slots(devices: Devices, booted: SlotName | undefined, storage: Storage): Promise<Finding> {
  for (const name of ['a', 'b'] as const) {
    const device = devices[name]
    const found = await stat(device).catch(() => undefined)
    const remedy = `Set piAdu.slots.${name}.device to the block device of slot ${name}: lsblk shows them.`
    if (!found) return fail('slots', `slot ${name} is missing: there is no ${device}`, remedy)
    if (!found.isBlockDevice() && !found.isFile()) {
      return fail('slots', `slot ${name}, ${device}, is neither a block device nor a file`, remedy)
    }
  }
  if (!booted) return skip('slots', `${devices.a} and ${devices.b} exist; which is free, the boot state would tell`)
  const target = other(booted)
  const use = await useOf(devices[target], storage)
  if (use === undefined) return ok('slots', `the next update goes to slot ${target}, ${devices[target]}`)
  const remedy = 'Unmount it: an update does not write what is in use.'
  return fail('slots', `slot ${target}, ${devices[target]}, is in use: ${use}`, remedy)
}

export async function swupdate(): Promise<Finding> {
  const program = await programFile('swupdate')
  if (program === undefined) return fail('swupdate', 'swupdate is not installed', 'Run apt-get install swupdate.')
  try {
    const limits = { signal: new AbortController().signal, timeout: 20_000, code: 'INTERNAL' } as const
    const said = await run([program, '--version'], limits)
    // Debian 12's SWUpdate prints no version number.
    const number = /\d{4}\.\d+(\.\d+)?/.exec(said)?.[0]
    return ok('swupdate', number ?? `${program} is installed`)
  } catch (error) {
    return fail('swupdate', messageOf(error), 'Install the swupdate package again.')
  }
}

export async function certificate(file: string): Promise<Finding> {
  const remedy = 'Put the certificate that signs your bundles there: see piAdu.swupdate.certificate.'
  const text = await readFile(file, 'utf8').catch(error => error as Error)
  if (text instanceof Error) return fail('certificate', `${file} cannot be read: ${text.message}`, remedy)
  if (!text.includes('-----BEGIN CERTIFICATE-----')) return fail('certificate', `${file} has no certificate`, remedy)
  const flaw = (await expiry(file)).replace(/^; /, '')
  if (flaw) return fail('certificate', flaw, 'Renew it with an update that brings both, or set the clock.')
  return ok('certificate', `${file} checks the signatures of bundles`)
}

/** How far SWUpdate can be confined here; tries it. */
export async function confined(mode: 'auto' | 'require' | 'off'): Promise<Finding> {
  let said = ''
  const log: Log = {
    ...{ debug() {}, error() {} },
    info: (_, facts) => {
      said = `SWUpdate runs confined by Landlock, version ${facts?.landlock}`
    },
    warn: () => {},
  }
  if (mode === 'off') {
    return warn(
      'confinement',
      'SWUpdate is not confined',
      'Remove piAdu.swupdate.confine to confine it where possible.',
    )
  }
  try {
    await confinement(mode, log)
  } catch (error) {
    return fail('confinement', messageOf(error), 'Use a kernel with Landlock, or set piAdu.swupdate.confine to auto.')
  }
  if (said) return ok('confinement', said)
  return warn('confinement', 'this kernel cannot confine SWUpdate', 'Use a kernel with Landlock, such as Debian’s.')
}
