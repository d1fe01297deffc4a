import { type Attempt, type InstallResult, runningUpdate } from '../../domain/attempt.ts'
import { ercText } from '../../domain/result-codes.ts'
import { cutForJson } from '../../domain/text.ts'
import type { Reported } from '../../ports/hub.ts'
import type { Reporter } from '../reporter.ts'
import type { TwinContract } from '../twin-contract.ts'

/** In bytes: the whole property has 1 KiB. */
const MAX_CAUSE = 240
const MAX_ID = 128
const MAX_CODES = 3

/**
 * A local update is not a workflow of the cloud, so `lastInstallResult` says nothing of it. Its own result is in `piAdu.local`
 * (PROTOCOL.md, "Our own property"). Where a signed deployment was installed, the update id of what runs is shown too.
 */
export function localReporter(installed: TwinContract['installed']): Reporter {
  const final: Reporter['final'] = (attempt, result) => {
    const running = runningUpdate(attempt, result)
    return { ...local(attempt, result), ...(running === undefined ? {} : installed?.(running)) }
  }
  return {
    hold: 0,
    stage: () => undefined,
    final,
    reduced: (attempt, result) => final(attempt, { ...result, resultDetails: '' }),
  }
}

/** Null takes away what an earlier result had. */
function local({ workflow: { id } }: Attempt, result: InstallResult): Reported {
  const codes = result.extendedResultCodes.filter(code => code !== 0).slice(0, MAX_CODES)
  const cause = cutForJson(result.resultDetails, MAX_CAUSE) || null
  const { resultCode } = result
  return {
    piAdu: { local: { id: cutForJson(id, MAX_ID), resultCode, codes: codes.map(ercText).join(',') || null, cause } },
  }
}
