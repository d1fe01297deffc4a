import { fetchFile } from '../../delivery/fetch.ts'
import { throttled } from '../../delivery/throttle.ts'
import type { FileEntity, Verified, WorkPlan } from '../../domain/deployment.ts'
import { AgentError } from '../../domain/errors.ts'
import { withholdEnd } from '../../trust/withheld-end.ts'
import type { Orderable } from '../action.ts'
import { MAX_INSTALLS, MAX_PAUSES } from '../image.ts'
import { type Context, Interrupted, Paused } from './context.ts'
import type { Executor } from './perform.ts'
import { StepWork } from './step-work.ts'
import { tellWork } from './telling.ts'

/** Bytes that stay free: a full disk would cost the journal. */
const RESERVE = 16 * 1024 * 1024

/** Downloads of one step that may be begun: only a crash or a power cut causes more than one. */
export const MAX_FETCHES = 10

/**
 * Fetches the files that tell whether the step is installed, asks, and fetches the others only if it is not. What is there
 * already is not fetched again, so this may be repeated.
 */
export const prepare: Executor<'prepare'> = async ({ at, ...order }, context) => {
  const work = new StepWork(context, at, order)
  const { fetches = 0, prepares = 0, pauses = 0 } = work.record
  if (fetches >= MAX_FETCHES)
    return work.failWith('WORK_FOLDER', `its files were fetched ${fetches} times and got lost`)
  // As with images.
  if (prepares >= MAX_INSTALLS)
    return work.failWith('TOO_MANY_INSTALLS', `its download was begun ${prepares} times and never came to its end`)
  if (pauses >= MAX_PAUSES)
    return work.failWith('TOO_MANY_INSTALLS', `its download was paused ${pauses} times and never finished`)
  await work.write(record => ({ ...record, prepares: prepares + 1 }))
  try {
    await allFetched(at, order, work, context)
  } catch (error) {
    // A closed gate is not the step's fault, so this start does not count.
    if (context.signal.reason instanceof Paused)
      await work.write(record => ({ ...record, prepares, pauses: pauses + 1 }))
    throw error
  }
}

async function allFetched(at: number, order: Orderable, work: StepWork, context: Context): Promise<void> {
  const plan = planOf(order)
  const { fetches = 0 } = work.record
  await fetchAll(plan.probe, order, work, context)
  try {
    // Files that are fetched again are needed for sure, unless the step may have run.
    const installed = fetches > 0 && !work.record.mayHaveRun ? 'no' : await work.isInstalled()
    if (installed === 'yes') return await work.write(record => ({ ...record, state: 'ready', bare: true }))
    if (installed === 'unknown' && work.record.mayHaveRun) {
      return await work.failWith('STEP_UNKNOWN', MAY_HAVE_RUN)
    }
    await tellWork(context, work.attempt)
    work.begin()
    await fetchAll(plan.payload, order, work, context)
    const { result, failure } = await downloaded(work, context.signal)
    if (failure) return await work.fail(failure)
    context.ports.log.info('step.prepared', { step: at + 1, resultCode: result?.resultCode })
  } catch (error) {
    if (!(error instanceof AgentError) || error.code !== 'STEP_REFUSED') throw error
    return work.refuse(error)
  }
  await work.write(({ order: _, bare: _bare, ...record }) => ({ ...record, state: 'ready' }))
}

export const MAY_HAVE_RUN =
  'outcome unknown: the journal was damaged, the step may have run, and it cannot say whether it is installed; it is not run again'

export function planOf({ step: { plan } }: Orderable): WorkPlan {
  if (plan.kind !== 'work') throw new Error('nextAction gave a step without work to the step service')
  return plan
}

/** The verb `download`. Unlike the others it may be repeated: it only gets what the step needs. */
async function downloaded(work: StepWork, signal: AbortSignal) {
  if (work.record.order?.verb !== 'download') await work.announce('download')
  for (let tries = 1; ; tries++) {
    try {
      const result = await work.run('download', work.record.order?.id ?? '')
      return result.resultCode > 0 ? { result } : { failure: result }
    } catch (error) {
      // Not when the process ends: the next one attaches to the order.
      if (signal.reason instanceof Paused || signal.reason instanceof Interrupted) {
        // First, because its result would be that of a step that was cancelled.
        await work.write(({ order: _, ...record }) => record)
        await work.cancel()
        throw error
      }
      if (!(error instanceof AgentError) || error.code !== 'STEP_UNKNOWN' || tries === 3) throw error
      await work.announce('download')
    }
  }
}

async function fetchAll(
  files: readonly Verified<FileEntity>[],
  { step }: Orderable,
  work: StepWork,
  context: Context,
): Promise<void> {
  const { ports, options, signal } = context
  const missing: Verified<FileEntity>[] = []
  for (const file of files) if (!(await ports.workFolder.has(work.folder, file))) missing.push(file)
  if (missing.length === 0) return
  const size = missing.reduce((sum, { sizeInBytes }) => sum + sizeInBytes, 0)
  const free = await ports.workFolder.free()
  if (free < size + RESERVE) {
    const why = `the files of the step need ${megabytes(size)} MB, and the downloads folder has ${megabytes(free)} MB free`
    throw new AgentError('SPACE', why)
  }
  let done = 0
  for (const file of missing) {
    const url = step.urls[file.fileId]
    if (url === undefined) throw new AgentError('URL_BAD', `fileUrls has no URL for ${file.fileName}`)
    const origin = work.attempt.own?.local ? 'local' : 'twin'
    const bytes = fetchFile(ports, { url, origin, size: file.sizeInBytes }, options.fetch, signal)
    const { bytesPerSecond } = options.fetch
    const paced = bytesPerSecond === undefined ? bytes : throttled(bytes, bytesPerSecond, ports.clock, signal)
    await ports.workFolder.write(work.folder, file, withholdEnd(counted(paced), file))
  }

  async function* counted(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const piece of source) {
      yield piece
      done += piece.length
      work.progress((done / size) * 100)
    }
  }
}

const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(1)
