import type { Attempt } from './domain/deployment.ts'
import { ercText } from './domain/result-codes.ts'
import { type BootState, other } from './domain/slot.ts'

/** What a device thinks, for `pi-adu status`: the same facts that the next step is decided from. */
export interface Status {
  readonly version: string
  readonly boot: BootState
  readonly attempt: Attempt | undefined
}

/** A few lines for a person. Pure. */
export function describeStatus({ version, boot, attempt }: Status): string {
  const rest = other(boot.booted)
  const lines = [
    ['system', version || 'unknown (no version file)'],
    [`slot ${boot.booted}`, `booted${boot.primary === boot.booted ? ', primary' : ''}${ofTrial(boot, boot.booted)}`],
    [`slot ${rest}`, `${boot.primary === rest ? 'primary' : 'other'}${ofTrial(boot, rest)}`],
    ...ofAttempt(attempt),
  ]
  return lines.map(([name = '', text = '']) => `${name.padEnd(12)}${text}\n`).join('')
}

function ofTrial({ primary, trial, tries }: BootState, slot: string): string {
  if (trial === 'pending' && primary === slot) return `, on trial, ${tries} more ${tries === 1 ? 'start' : 'starts'}`
  return trial === 'failed' && primary !== slot ? ', its trial failed' : ''
}

function ofAttempt(attempt: Attempt | undefined): readonly (readonly [string, string])[] {
  if (!attempt) return [['deployment', 'none so far']]
  const { workflow, updateId, firmware, installedCriteria, installs, installedTo, milestones, result, reported } =
    attempt
  const what = firmware
    ? 'ordered by the method firmwareUpdate'
    : updateId
      ? `${updateId.provider} ${updateId.name} ${updateId.version}`
      : workflow.action === 255
        ? 'a cancel'
        : 'refused'
  const progress = installedTo ? `installed to slot ${installedTo}` : installs > 0 ? 'install begun' : 'not begun'
  return [
    ['deployment', `${workflow.id}: ${what}`],
    ...(installedCriteria === undefined ? [] : [['criteria', `version "${installedCriteria}"`] as const]),
    ...(result
      ? [
          [
            'result',
            `${result.resultCode}, ${result.extendedResultCodes.map(ercText).join(',')}, ${reported ? 'reported' : 'not yet reported'}`,
          ] as const,
          ...(result.resultDetails ? [['details', result.resultDetails] as const] : []),
        ]
      : [['progress', progress] as const]),
    ...(milestones.length > 0 ? [['trial boots', milestones.join(' → ')] as const] : []),
  ]
}
