import { lstat } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { OwnWork } from '../../domain/deployment.ts'
import { RESULT_CODE } from '../../domain/result-codes.ts'
import type { StepResult } from '../../domain/step-record.ts'
import { handlerFileOf } from '../../handlers/own/own.ts'
import type { Verb } from '../../ports/steps.ts'
import { failure } from '../answer.ts'
import { whyNotOwned } from '../owned.ts'
import type { Job, Launched, Worker } from '../worker.ts'
import { outcomeOf, TRY_AGAIN } from './outcome.ts'
import { Reply, requestOf } from './protocol.ts'

/** For a question and for a cancel; the other verbs have the time of the settings. In milliseconds. */
const SHORT = 120_000

/** Before each further attempt, in milliseconds. */
const DELAYS = [1_000, 5_000, 15_000, 60_000]

/** Runs an executable of the device's owner (README.md). */
export class OwnWorker implements Worker<OwnWork> {
  readonly #delays: readonly number[]

  constructor(delays: readonly number[] = DELAYS) {
    this.#delays = delays
  }

  async run(verb: Verb, job: Job<OwnWork>, signal: AbortSignal): Promise<StepResult> {
    const executable = join(job.settings.handlersFolder, handlerFileOf(job.work.handler))
    const why = (await whyNotOwned(executable)) ?? (await whyNotExecutable(executable))
    if (why !== undefined) return failure('OWN_UNSAFE', `the handler ${job.work.handler} is not run: ${why}`)
    const end = Date.now() + (verb === 'isInstalled' || verb === 'cancel' ? SHORT : job.settings.limits.seconds * 1000)
    for (let attempt = 1; ; attempt++) {
      const reply = new Reply(job.progress)
      const launched = await this.#launch(executable, verb, job, { attempt, reply, timeout: end - Date.now(), signal })
      if (signal.aborted) return CANCELLED
      const delay = this.#delays[attempt - 1]
      if (launched.exitCode !== TRY_AGAIN) return outcomeOf(verb, job.work.handler, launched, reply)
      if (delay === undefined || Date.now() + delay >= end) {
        const times = attempt === 1 ? 'once' : `${attempt} times`
        return failure(
          'OWN_BUSY',
          `the handler ${job.work.handler} was called ${times} and asks to be tried again${reply.said}`,
        )
      }
      await sleep(delay, undefined, { signal }).catch(() => {})
      if (signal.aborted) return CANCELLED
    }
  }

  #launch(executable: string, verb: Verb, job: Job<OwnWork>, options: Attempt): Promise<Launched> {
    const { attempt, reply, timeout, signal } = options
    return job.launch([executable], {
      signal,
      timeout: Math.max(1, timeout),
      input: `${JSON.stringify(requestOf(verb, job, attempt))}\n`,
      onLine: (line, from) => reply.line(line, from),
      ...(job.runAs === undefined ? { writes: 'system' } : { user: job.runAs, writes: 'folder' }),
    })
  }
}

interface Attempt {
  readonly attempt: number
  readonly reply: Reply
  readonly timeout: number
  readonly signal: AbortSignal
}

const CANCELLED: StepResult = {
  resultCode: RESULT_CODE.cancelled,
  extendedResultCode: 0,
  resultDetails: 'the handler was cancelled',
}

async function whyNotExecutable(path: string): Promise<string | undefined> {
  const { mode } = await lstat(path)
  return (mode & 0o111) === 0 ? `${path} is not executable` : undefined
}
