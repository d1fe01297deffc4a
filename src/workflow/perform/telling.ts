import type { Attempt } from '../../domain/attempt.ts'
import { reporterOf, type Stage } from '../../sources/reporter.ts'
import type { Context } from './context.ts'

/** Reports a stage, after holding the previous one for callers that poll. Returns whether the origin gets reports of this stage. */
export async function tellStage(context: Context, now: Attempt, stage: Stage): Promise<boolean> {
  const patch = reporterOf(context.options.reporters, now).stage(now, stage)
  if (!patch) return false
  await hold(context, now)
  await context.tell(patch)
  return true
}

/** That work really starts, which is reported once for all steps. */
export async function tellWork(context: Context, now: Attempt): Promise<void> {
  if (context.isNews(`${now.workflow.id} is at work`)) await tellStage(context, now, 'downloading')
}

/** Shows the stage for as long as its origin wants. */
export async function hold({ ports, options, signal }: Context, now: Attempt): Promise<void> {
  const pause = reporterOf(options.reporters, now).hold
  if (pause > 0) await ports.clock.sleep(pause, signal)
}

/** Progress reports; the download does not wait for them. */
export function progressOf({ ports: { clock }, options, tell }: Context, now: Attempt) {
  const worthTelling = reporterOf(options.reporters, now).progress?.(now, clock.monotonic())
  let last = Promise.resolve()
  return {
    tell(done: number, size: number): void {
      const patch = worthTelling?.(done, size, clock.monotonic())
      if (!patch) return
      last = last.then(() => tell(patch))
      last.catch(() => {})
    },
    /** Resolves when every report was sent. */
    told: (): Promise<void> => last,
  }
}
