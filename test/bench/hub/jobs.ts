import * as v from 'valibot'
import { twinJson, twinUpdateOf } from './device-json.ts'
import type { Devices } from './devices.ts'
import { asHubError, HubError, invalidArgument } from './errors.ts'
import type { Json, JsonObject } from './json.ts'
import type { Methods } from './methods.ts'
import { runQuery } from './query.ts'
import { parseQuery, type Query } from './query-syntax.ts'
import { methodCallOf } from './routes.ts'

type JobType = 'scheduleDeviceMethod' | 'scheduleUpdateTwin'
type JobStatus = 'scheduled' | 'running' | 'completed' | 'failed' | 'cancelled'
type DeviceJobStatus = 'pending' | 'running' | 'completed' | 'failed' | 'canceled'

interface DeviceJob {
  status: DeviceJobStatus
  started: string | null
  ended: string | null
  /** What the device answered, or why it could not. */
  result: JsonObject
}

interface Job {
  readonly id: string
  readonly type: JobType
  /** The parts of the request that every answer repeats. */
  readonly request: JsonObject
  readonly targets: Query
  readonly perform: (deviceId: string) => Promise<JsonObject>
  readonly maxMs: number
  readonly created: string
  startTime: string
  ended: string | null
  status: JobStatus
  readonly devices: Map<string, DeviceJob>
  timer: NodeJS.Timeout | undefined
}

const MAX_JOBS = 200
/** Devices worked on at a time, within one job. */
const CONCURRENCY = 10
const MAX_TIMER_MS = 2 ** 31 - 1

const jobSchema = v.object({
  type: v.picklist(['scheduleDeviceMethod', 'scheduleUpdateTwin']),
  queryCondition: v.nullish(v.string()),
  startTime: v.nullish(v.string()),
  maxExecutionTimeInSeconds: v.nullish(v.pipe(v.number(), v.minValue(1), v.maxValue(2_000_000))),
  cloudToDeviceMethod: v.nullish(v.record(v.string(), v.unknown())),
  updateTwin: v.nullish(v.record(v.string(), v.unknown())),
})

/** Jobs: one method call or twin change for every device a condition selects. Kept in memory only; the oldest finished ones are forgotten. */
export class Jobs {
  readonly #devices: Devices
  readonly #methods: Methods
  readonly #log: (line: string) => void
  readonly #jobs = new Map<string, Job>()

  constructor(devices: Devices, methods: Methods, log: (line: string) => void) {
    this.#devices = devices
    this.#methods = methods
    this.#log = log
  }

  /** Throws HubError: 400 on a bad request, 409 when the id is taken, 429 when too many jobs are under way. */
  create(id: string, body: unknown): JsonObject {
    const parsed = v.safeParse(jobSchema, body)
    if (!parsed.success) throw invalidArgument(v.summarize(parsed.issues))
    if (!/^[\w.-]{1,64}$/.test(id) || id === 'query') throw invalidArgument('not a valid job id')
    if (this.#jobs.has(id)) throw new HubError(409, 409006, 'JobAlreadyExists', `job ${id} exists`)
    this.#makeRoom()

    const { type, queryCondition, startTime, maxExecutionTimeInSeconds, cloudToDeviceMethod, updateTwin } =
      parsed.output
    const start = startTime ? Date.parse(startTime) : Date.now()
    if (!(start < Date.now() + MAX_TIMER_MS)) throw invalidArgument('startTime is not a date within the next 24 days')
    const everything = !queryCondition || queryCondition.trim() === '*'
    const job: Job = {
      id,
      type,
      request: { queryCondition: queryCondition ?? '', cloudToDeviceMethod, updateTwin } as unknown as JsonObject,
      targets: parseQuery(`SELECT * FROM devices${everything ? '' : ` WHERE ${queryCondition}`}`),
      perform: type === 'scheduleDeviceMethod' ? this.#calling(cloudToDeviceMethod) : this.#updating(updateTwin),
      maxMs: (maxExecutionTimeInSeconds ?? 3600) * 1000,
      created: new Date().toISOString(),
      startTime: new Date(start).toISOString(),
      ended: null,
      status: 'scheduled',
      devices: new Map(),
      timer: undefined,
    }
    this.#jobs.set(id, job)
    job.timer = setTimeout(
      () => {
        this.#run(job).catch(error => {
          asHubError(error, this.#log)
          this.#end(job, 'failed')
        })
      },
      Math.max(start - Date.now(), 0),
    )
    return jobJson(job)
  }

  get(id: string): JsonObject {
    return jobJson(this.#find(id))
  }

  /** Work that has begun on a device continues; its outcome is ignored. */
  cancel(id: string): JsonObject {
    const job = this.#find(id)
    if (isActive(job)) this.#end(job, 'cancelled')
    return jobJson(job)
  }

  all(): JsonObject[] {
    return Array.from(this.#jobs.values(), jobJson)
  }

  /** The documents of `devices.jobs`: one for each job and device. */
  deviceJobs(): JsonObject[] {
    return [...this.#jobs.values()].flatMap(job =>
      Array.from(job.devices, ([deviceId, device]) => ({
        jobId: job.id,
        jobType: job.type,
        deviceId,
        status: device.status,
        createdDateTimeUtc: job.created,
        startTimeUtc: device.started,
        endTimeUtc: device.ended,
        lastUpdatedDateTimeUtc: device.ended ?? device.started ?? job.created,
        ...device.result,
      })),
    )
  }

  stop(): void {
    for (const job of this.#jobs.values()) if (isActive(job)) this.#end(job, 'cancelled')
  }

  async #run(job: Job): Promise<void> {
    job.status = 'running'
    job.timer = setTimeout(() => this.#end(job, 'failed'), Math.min(job.maxMs, MAX_TIMER_MS))
    const twins = Array.from(this.#devices.all(), device => twinJson(device, this.#devices))
    for (const { deviceId } of runQuery(job.targets, twins)) {
      job.devices.set(String(deviceId), { status: 'pending', started: null, ended: null, result: {} })
    }
    const waiting = job.devices.entries()
    const worker = async () => {
      for (const [deviceId, device] of waiting)
        if (device.status === 'pending') await this.#perform(job, deviceId, device)
    }
    await Promise.all(Array.from({ length: CONCURRENCY }, worker))
    if (isActive(job)) this.#end(job, 'completed')
  }

  async #perform(job: Job, deviceId: string, device: DeviceJob): Promise<void> {
    device.status = 'running'
    device.started = new Date().toISOString()
    let [status, result]: [DeviceJobStatus, JsonObject] = ['completed', {}]
    try {
      result = await job.perform(deviceId)
    } catch (error) {
      const { errorCode, message } = asHubError(error, this.#log)
      ;[status, result] = ['failed', { error: { code: String(errorCode), description: message } }]
    }
    if (device.ended === null) Object.assign(device, { status, result, ended: new Date().toISOString() })
  }

  /** Cancelled, out of time, or done: devices that are not done yet never will be. */
  #end(job: Job, status: 'completed' | 'failed' | 'cancelled'): void {
    clearTimeout(job.timer)
    job.status = status
    job.ended = new Date().toISOString()
    for (const device of job.devices.values()) {
      if (device.ended !== null) continue
      device.status = status === 'failed' ? 'failed' : 'canceled'
      device.ended = job.ended
    }
  }

  #calling(method: unknown): (deviceId: string) => Promise<JsonObject> {
    const call = methodCallOf(method)
    return async deviceId => {
      const { status, payload } = await this.#methods.invoke(deviceId, call)
      return { outcome: { deviceMethodResponse: { status, payload } } }
    }
  }

  #updating(twin: unknown): (deviceId: string) => Promise<JsonObject> {
    const update = twinUpdateOf(twin)
    return async deviceId => {
      this.#devices.updateTwin(deviceId, update)
      return {}
    }
  }

  #find(id: string): Job {
    const job = this.#jobs.get(id)
    if (!job) throw new HubError(404, 404102, 'JobNotFound', `there is no job ${id}`)
    return job
  }

  #makeRoom(): void {
    if (this.#jobs.size < MAX_JOBS) return
    const oldest = [...this.#jobs.values()].find(job => !isActive(job))
    if (!oldest) throw new HubError(429, 429001, 'ThrottlingException', 'too many jobs')
    this.#jobs.delete(oldest.id)
  }
}

const isActive = ({ status }: Job) => status === 'scheduled' || status === 'running'

function jobJson(job: Job): JsonObject {
  const count = (...wanted: DeviceJobStatus[]) =>
    [...job.devices.values()].filter(({ status }) => wanted.includes(status)).length
  const json = {
    jobId: job.id,
    type: job.type,
    ...job.request,
    createdTime: job.created,
    startTime: job.startTime,
    endTime: job.ended,
    maxExecutionTimeInSeconds: job.maxMs / 1000,
    status: job.status,
    deviceJobStatistics: {
      deviceCount: job.devices.size,
      succeededCount: count('completed'),
      failedCount: count('failed', 'canceled'),
      runningCount: count('running'),
      pendingCount: count('pending'),
    },
  }
  return json satisfies Record<string, Json | undefined>
}
