import { twinJson } from './device-json.ts'
import { invalidArgument } from './errors.ts'
import type { Jobs } from './jobs.ts'
import { type JsonObject, member } from './json.ts'
import { page } from './paging.ts'
import { runQuery } from './query.ts'
import { parseQuery } from './query-syntax.ts'
import type { RestAnswer, RestHub, RestRequest, Route } from './routes.ts'

/** Queries over twins and jobs, and the jobs themselves (PROTOCOL.md, "Service API"). */
export const queryRoutes = (jobs: Jobs): readonly Route[] => [
  {
    method: 'POST',
    path: '/devices/query',
    needs: 'ServiceConnect',
    handle: (request, hub) => query(request, hub, jobs),
  },
  {
    method: 'PUT',
    path: '/jobs/v2/{id}',
    needs: 'ServiceConnect',
    handle: ({ id, body }) => ({ status: 200, body: jobs.create(id, body) }),
  },
  {
    // Before the route with a placeholder, so that no job can be called "query".
    method: 'GET',
    path: '/jobs/v2/query',
    needs: 'ServiceConnect',
    handle: request => {
      const [type, status] = [request.query.get('jobType'), request.query.get('jobStatus')]
      const rows = jobs.all().filter(job => (!type || job.type === type) && (!status || job.status === status))
      return page(rows, request, 'JobResponse')
    },
  },
  {
    method: 'GET',
    path: '/jobs/v2/{id}',
    needs: 'ServiceConnect',
    handle: ({ id }) => ({ status: 200, body: jobs.get(id) }),
  },
  {
    method: 'POST',
    path: '/jobs/v2/{id}/cancel',
    needs: 'ServiceConnect',
    handle: ({ id }) => ({ status: 200, body: jobs.cancel(id) }),
  },
]

function query(request: RestRequest, { devices }: RestHub, jobs: Jobs): RestAnswer {
  const text = member(request.body as JsonObject | undefined, 'query')
  if (typeof text !== 'string') throw invalidArgument('the body has no query')
  const parsed = parseQuery(text)
  const twins = { devices: () => devices.all(), 'devices.modules': () => devices.modules() }
  const documents =
    parsed.from === 'devices.jobs' ? jobs.deviceJobs() : twins[parsed.from]().map(record => twinJson(record, devices))
  const itemType = parsed.select !== null ? 'Raw' : parsed.from === 'devices.jobs' ? 'DeviceJob' : 'Twin'
  return page(runQuery(parsed, documents), request, itemType)
}
