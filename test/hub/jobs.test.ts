import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import iothub from 'azure-iothub'
import { type BenchHub, startHub } from '../bench/hub/hub.ts'
import { preloadFile } from '../bench/hub/preload.ts'
import { rest } from './rest-call.ts'
import { aDevice } from './support.ts'

// Queries and jobs with the unmodified service SDK.

let hub: BenchHub
let dir: string
let registry: InstanceType<typeof iothub.Registry>
let jobs: InstanceType<typeof iothub.JobClient>
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'bench-hub-'))
  hub = await startHub({ stateDir: dir })
  process.env.PI_ADU_BENCH = hub.benchFile
  createRequire(import.meta.url)(preloadFile())
  registry = iothub.Registry.fromConnectionString(hub.serviceConnectionString)
  jobs = iothub.JobClient.fromConnectionString(hub.serviceConnectionString)
  for (let n = 0; n < 25; n++) {
    hub.createDevice(`d${n}`)
    hub.updateTags(`d${n}`, { group: n % 2 ? 'odd' : 'even' })
  }
})
after(async () => {
  await hub.stop()
  await rm(dir, { recursive: true })
})

const finished = async (id: string) => {
  for (;;) {
    const { body } = await rest(hub, 'GET', `/jobs/v2/${id}`)
    if (['completed', 'failed', 'cancelled'].includes(body.status)) return body
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}
const deviceJobs = async (id: string) => {
  const query = registry.createQuery(`SELECT * FROM devices.jobs WHERE devices.jobs.jobId = '${id}'`)
  return (await query.next()).result as unknown as Record<string, unknown>[]
}

test('a query by pages finds every device once', async () => {
  const query = registry.createQuery('SELECT * FROM devices', 10)
  const pages: string[][] = []
  while (query.hasMoreResults) pages.push((await query.nextAsTwin()).result.map(twin => twin.deviceId))
  assert.deepEqual(
    pages.map(({ length }) => length),
    [10, 10, 5],
  )
  assert.equal(new Set(pages.flat()).size, 25)
})

test('a query counts, and a bad one is refused with its position', async () => {
  const text = 'SELECT tags.group AS g, COUNT() AS n FROM devices GROUP BY tags.group'
  assert.deepEqual((await registry.createQuery(text).next()).result as unknown, [
    { g: 'even', n: 13 },
    { g: 'odd', n: 12 },
  ])
  await assert.rejects(registry.createQuery('SELECT * FROM devices ORDER BY x').next(), error => {
    assert.match((error as { responseBody?: string }).responseBody ?? '', /position 23/)
    return true
  })
  const bad = await rest(hub, 'POST', '/devices/query', {
    body: { query: 'SELECT * FROM devices' },
    headers: { 'x-ms-continuation': 'zz' },
  })
  assert.equal(bad.status, 400)
})

test('a twin job changes the twins it selects', async () => {
  const patch = { etag: '*', properties: { desired: { speed: 9 } } } as never
  await jobs.scheduleTwinUpdate('twin-job', "tags.group = 'odd'", patch, new Date(), 30)
  const job = await finished('twin-job')
  assert.equal(job.status, 'completed')
  assert.deepEqual([job.deviceJobStatistics.deviceCount, job.deviceJobStatistics.succeededCount], [12, 12])
  assert.equal(hub.getTwin('d1').properties.desired.speed, 9)
  assert.equal('speed' in hub.getTwin('d2').properties.desired, false)
  assert.equal((await deviceJobs('twin-job')).length, 12)
})

test('a method job tells for each device what came of it', async t => {
  const { client } = await aDevice(t, hub, 'd4')
  client.onDeviceMethod('go', (request, response) => response.send(200, { went: request.payload }, () => {}))
  await hub.waitFor(() => hub.isSubscribed('d4', '$iothub/methods/POST/#'))
  const call = { methodName: 'go', payload: 1, responseTimeoutInSeconds: 5 }
  await jobs.scheduleDeviceMethod('method-job', "deviceId IN ['d4', 'd6']", call, new Date(), 30)
  const job = await finished('method-job')
  assert.deepEqual([job.deviceJobStatistics.succeededCount, job.deviceJobStatistics.failedCount], [1, 1])
  const [online, offline] = (await deviceJobs('method-job')).sort((a, b) =>
    String(a.deviceId) < String(b.deviceId) ? -1 : 1,
  )
  assert.deepEqual(online!.outcome, { deviceMethodResponse: { status: 200, payload: { went: 1 } } })
  assert.equal((offline!.error as { code: string }).code, '404103')
})

test('a job for later can be cancelled, listed, and is not made twice', async () => {
  const patch = { tags: { late: true } } as never
  await jobs.scheduleTwinUpdate('later', '*', patch, new Date(Date.now() + 60_000), 30)
  assert.equal((await jobs.getJob('later')).jobStatus.status, 'scheduled')
  await assert.rejects(jobs.scheduleTwinUpdate('later', '*', patch, new Date(), 30))
  const listed = await jobs.createQuery('scheduleUpdateTwin' as never, 'scheduled' as never).next()
  assert.deepEqual(
    (listed.result as unknown as { jobId: string }[]).map(({ jobId }) => jobId),
    ['later'],
  )
  assert.equal((await jobs.cancelJob('later')).jobStatus.status, 'cancelled')
  assert.equal('late' in hub.getTwin('d1').tags, false)
})

test('bad jobs are refused', async () => {
  const put = async (id: string, body: unknown) => (await rest(hub, 'PUT', `/jobs/v2/${id}`, { body })).status
  const good = { type: 'scheduleUpdateTwin', updateTwin: { tags: {} }, queryCondition: "deviceId = 'd0'" }
  assert.equal(await put('ok', good), 200)
  assert.equal(await put('query', good), 400)
  assert.equal(await put('bad1', { ...good, type: 'other' }), 400)
  assert.equal(await put('bad2', { ...good, queryCondition: 'a = ' }), 400)
  assert.equal(await put('bad3', { ...good, startTime: 'soon' }), 400)
  assert.equal(await put('bad4', { type: 'scheduleDeviceMethod' }), 400)
  assert.equal((await rest(hub, 'GET', '/jobs/v2/none')).status, 404)
})
