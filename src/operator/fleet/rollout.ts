import { isDeepStrictEqual } from 'node:util'
import { EXIT, Failure } from '../failure.ts'
import { type FollowOptions, follow } from '../follow.ts'
import { HubFailure, type HubService, type JobState, type MethodCall } from '../hub-service.ts'
import { called, type DeviceRun, hasEnded, hasFailed, seen } from './device-run.ts'

export interface Rollout {
  /** Jobs are `<id>-1`, `<id>-2`, …: one for each batch. */
  readonly id: string
  readonly devices: readonly string[]
  readonly call: MethodCall & { readonly payload: { readonly fwPackageUri: string } }
  readonly batchSize: number
  /** With more failures than this, no further batch is started. */
  readonly maxFailures: number
  readonly follow: FollowOptions
}

export interface Watcher {
  /** After each poll; `runs` holds all devices so far. */
  onChange(runs: readonly DeviceRun[], batch: number): void
  onTrouble(why: string, forMilliseconds: number): void
}

/** Seconds that the hub has to call the devices of one batch. */
const JOB_SECONDS = 900

const jobIdOf = (id: string, batch: number): string => `${id}-${batch}`

/**
 * Runs batch after batch: a job calls the method on its devices, and the next batch starts when all devices of this one have
 * finished. Returns the devices that were started. Errors: as `follow`, and Failure when a job of this name is not ours.
 * Updates that were started continue after an error.
 */
export async function rollOut(
  hub: HubService,
  { id, devices, call, batchSize, maxFailures, follow: options }: Rollout,
  watcher: Watcher,
  signal: AbortSignal,
): Promise<readonly DeviceRun[]> {
  let runs: readonly DeviceRun[] = []
  for (let batch = 1; (batch - 1) * batchSize < devices.length; batch++) {
    const ids = devices.slice((batch - 1) * batchSize, batch * batchSize)
    const jobId = jobIdOf(id, batch)
    await follow(starter(hub, jobId, inList(ids), call), watcher.onTrouble, options, signal)
    const begun = ids.map((deviceId): DeviceRun => ({ deviceId, batch, jobId, outcome: 'calling' }))
    const before = runs
    const uri = call.payload.fwPackageUri
    const ended = await followBatch(hub, begun, uri, each => watcher.onChange([...before, ...each], batch), {
      onTrouble: watcher.onTrouble,
      options,
      signal,
    })
    runs = [...before, ...ended]
    if (runs.filter(hasFailed).length > maxFailures) break
  }
  return runs
}

/** Follows the jobs of an earlier `rollOut` with this id to their end. */
export async function resume(
  hub: HubService,
  id: string,
  watcher: Watcher,
  options: FollowOptions,
  signal: AbortSignal,
): Promise<readonly DeviceRun[]> {
  const runs: DeviceRun[] = []
  let uri: string | undefined
  for (let batch = 1; ; batch++) {
    const jobId = jobIdOf(id, batch)
    const job = await hub.job(jobId).catch(error => {
      if (error instanceof HubFailure && error.status === 404) return undefined
      throw error
    })
    if (!job) break
    const payload = job.cloudToDeviceMethod?.payload as { fwPackageUri?: string } | undefined
    uri ??= payload?.fwPackageUri
    for (const document of await jobDocuments(hub, jobId)) {
      const { deviceId } = document as { deviceId: string }
      runs.push({ deviceId, batch, jobId, outcome: 'calling' })
    }
  }
  if (runs.length === 0) throw new Failure(EXIT.usage, `the hub has no job ${jobIdOf(id, 1)}, or it has no devices`)
  const last = runs.at(-1)?.batch ?? 1
  return followBatch(hub, runs, uri, each => watcher.onChange(each, last), { ...watcher, options, signal })
}

interface Following {
  readonly onTrouble: Watcher['onTrouble']
  readonly options: FollowOptions
  readonly signal: AbortSignal
}

function followBatch(
  hub: HubService,
  begun: readonly DeviceRun[],
  uri: string | undefined,
  onChange: (runs: readonly DeviceRun[]) => void,
  { onTrouble, options, signal }: Following,
): Promise<readonly DeviceRun[]> {
  let runs = begun
  const look = async (): Promise<readonly DeviceRun[] | undefined> => {
    const calling = new Set(runs.filter(({ outcome }) => outcome === 'calling').map(({ jobId }) => jobId))
    for (const jobId of calling) {
      const documents = byDevice(await jobDocuments(hub, jobId))
      runs = runs.map(run =>
        run.jobId === jobId ? called(run, documents.get(run.deviceId) ?? { status: 'pending' }) : run,
      )
    }
    const running = runs.filter(({ outcome }) => outcome === 'running').map(({ deviceId }) => deviceId)
    for (let first = 0; first < running.length; first += MAX_IN_LIST) {
      const part = running.slice(first, first + MAX_IN_LIST)
      const twins = byDevice(await hub.query(`SELECT * FROM devices WHERE ${inList(part)}`))
      runs = runs.map(run => (twins.has(run.deviceId) ? seen(run, twins.get(run.deviceId), uri) : run))
    }
    onChange(runs)
    return runs.every(hasEnded) ? runs : undefined
  }
  return follow(look, onTrouble, options, signal)
}

/**
 * Starts a job once, however often it is called. If an answer gets lost, the next try fails with 409; the job is then ours if it
 * is what we asked for. A 409 at the first try means that the name was taken.
 */
function starter(hub: HubService, jobId: string, condition: string, call: MethodCall): () => Promise<true> {
  let mayExist = false
  return async () => {
    try {
      await hub.startJob(jobId, condition, call, JOB_SECONDS)
    } catch (error) {
      if (!(error instanceof HubFailure)) throw error
      if (error.status === 409) {
        if (mayExist && isSameJob(await hub.job(jobId), condition, call)) return true
        const name = jobId.replace(/-\d+$/, '')
        const text = `the hub has a job ${jobId} already, so it was not started; use another --job, or --resume ${name} to follow it`
        throw new Failure(EXIT.usage, text, { cause: error })
      }
      mayExist ||= error.status === undefined || error.status >= 500
      throw error
    }
    return true
  }
}

const isSameJob = ({ queryCondition, cloudToDeviceMethod }: JobState, condition: string, call: MethodCall): boolean =>
  queryCondition === condition &&
  cloudToDeviceMethod?.methodName === call.name &&
  isDeepStrictEqual(cloudToDeviceMethod.payload, call.payload)

/** Most devices that one query condition can name. */
export const MAX_IN_LIST = 100

function inList(devices: readonly string[]): string {
  const strange = devices.find(id => /['\\]/.test(id))
  if (strange !== undefined)
    throw new Failure(EXIT.usage, `device ${strange} has a quote in its id: update it by itself`)
  return `deviceId IN [${devices.map(id => `'${id}'`).join(', ')}]`
}

const jobDocuments = (hub: HubService, jobId: string): Promise<unknown[]> =>
  hub.query(`SELECT * FROM devices.jobs WHERE devices.jobs.jobId = '${jobId}'`)

const byDevice = (documents: readonly unknown[]): ReadonlyMap<string, unknown> =>
  new Map(documents.map(each => [(each as { deviceId: string }).deviceId, each]))
