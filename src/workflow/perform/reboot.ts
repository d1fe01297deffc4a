import type { Attempt } from '../../domain/attempt.ts'
import type { CommandRequest } from '../../domain/command.ts'
import type { Request } from '../../domain/deployment.ts'
import { AgentError, messageOf } from '../../domain/errors.ts'
import { changed, type StepRecord } from '../../domain/step-record.ts'
import { reporterOf } from '../../sources/reporter.ts'
import { backOff } from '../../timing/back-off.ts'
import { retrying } from '../../timing/retrying.ts'
import type { RebootReason } from '../../view/event.ts'
import { fallBackEvent } from '../picture.ts'
import { attemptOf, type Context } from './context.ts'
import type { Executor } from './perform.ts'
import { hold, tellStage } from './telling.ts'
import { noteFlight } from './trial.ts'

/** Tries of a reboot that a caller was promised. */
const TRIES = 6

/** Milliseconds for the answer to a request to leave the machine before it goes down. */
const LAST_WORD = 1000

export const reboot: Executor<'reboot'> = async (action, context) => {
  if (action.why === 'asked') return asked(action.request, context)
  const attempt = attemptOf(context)
  if (action.why === 'step') {
    const again = (step: StepRecord) => ({ ...step, restarts: (step.restarts ?? 0) + 1 })
    await context.ports.journal.write({ ...attempt, steps: changed(attempt.steps, action.at, again) })
    return goDown('step', context)
  }
  const counted = { ...attempt, reboots: attempt.reboots + 1 }
  if (action.why === 'fallBack') {
    await noted(counted, context)
    return goDown('fallBack', context)
  }
  await context.ports.journal.write(counted)
  // Hold this stage here: the reboot may be quick, and nothing comes after it that would.
  if (!counted.rollback && (await tellStage(context, counted, 'rebooting'))) await hold(context, counted)
  await goDown('trial', context, await context.ports.boot.start(context.signal))
}

export const fallBack: Executor<'fallBack'> = async ({ cause }, context) => {
  const { boot, events } = context.ports
  const { attempt } = context.seen
  events.tell(fallBackEvent(cause))
  // Write the cause first: once the boot state has changed, a power cut may start the old slot, which must report it.
  if (attempt) await noted({ ...attempt, cause, reboots: attempt.reboots + 1 }, context)
  await noteFlight(context)
  await boot.fallBack(context.signal)
  await goDown('fallBack', context)
}

/** A disk that cannot be written to costs the cause, not the fall-back. */
async function noted(attempt: Attempt, { ports }: Context): Promise<void> {
  try {
    await ports.journal.write(attempt)
  } catch (error) {
    if (!(error instanceof AgentError)) throw error
    ports.log.error('fall-back.not-noted', { why: error.message })
  }
}

async function asked(request: Exclude<Request, CommandRequest>, context: Context): Promise<void> {
  const { ports, options, requests, tell, signal } = context
  // Answered meanwhile: the caller was told that nothing will happen.
  if (!requests.take(request)) return
  const patch = reporterOf(options.reporters, request).reboot?.(ports.clock.now())
  if (patch) await tell(patch)
  requests.settle(request, { is: 'begun' })
  await ports.clock.sleep(LAST_WORD, signal)
  // The reboot was promised, and only this call remembers it.
  const pause = (_: unknown, failures: number) => (failures < TRIES ? backOff(failures, ports.clock) : undefined)
  const onRetry = (error: unknown) => ports.log.warn('reboot.failed', { why: messageOf(error) })
  const down = async (): Promise<never> => {
    await goDown('asked', context)
    throw new AgentError('TOO_MANY_REBOOTS', 'a reboot was asked for, and the machine still runs')
  }
  await retrying(down, { pause, onRetry }, ports.clock, signal)
}

/** Orders the reboot, then gives the machine time to stop this process before the loop continues. */
async function goDown(
  why: RebootReason,
  { ports, options, signal }: Context,
  args: readonly string[] = [],
): Promise<void> {
  ports.events.tell({ event: 'reboot', why })
  await ports.host.reboot(args, signal)
  await ports.clock.sleep(options.rebootPatience, signal)
}
