import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import fc from 'fast-check'
import { HttpContent } from '../../../src/adapters/http/content.ts'
import { noSteps } from '../../../src/adapters/steps/no-steps.ts'
import type { Attempt } from '../../../src/domain/attempt.ts'
import { HubError } from '../../../src/domain/errors.ts'
import { Hosts } from '../../../src/domain/hosts.ts'
import type { Clock } from '../../../src/ports/clock.ts'
import type { HubConnection, Reported } from '../../../src/ports/hub.ts'
import { noLeftovers } from '../../../src/ports/leftovers.ts'
import type { Ports } from '../../../src/ports/ports.ts'
import type { WorkNote } from '../../../src/ports/work-notes.ts'
import { readDesired } from '../../../src/trust/service.ts'
import { Agent } from '../../../src/workflow/agent.ts'
import { publicNumbers } from '../../bench/authoring/keys.ts'
import { cook, MANIFEST } from '../../bench/authoring/recipe.ts'
import { calm } from '../../gates/calm.ts'
import { OPTIONS } from '../../workflow/fake-device.ts'
import { noWorkFolder } from '../../workflow/no-work.ts'
import { newKeys } from '../flaws/flaw.ts'
import { mutatedJson } from './mutate.ts'
import { urls } from './urls.ts'

/** Twin documents that make the agent's process end: each is put before a whole agent, whose content comes over real sockets. */

const keys = newKeys()
const builtIn = keys.roots.map(({ kid, privateKey }) => ({ kid, ...publicNumbers(privateKey) }))
const good = cook(keys).service as Record<string, unknown>
const [fileId = ''] = Object.keys(MANIFEST.files)
const EIGHT_HOURS = 8 * 3600_000

const deep = (levels: number): unknown => {
  let value: unknown = 'x'
  for (let level = 0; level < levels; level++) value = level % 2 ? [value] : { a: value }
  return value
}
const hostile = fc.oneof(
  { weight: 3, arbitrary: fc.jsonValue({ maxDepth: 4 }) },
  { weight: 1, arbitrary: fc.constantFrom(100, 8_000).map(deep) },
  { weight: 2, arbitrary: urls.map(({ url }) => url) },
)
const members = fc.constantFrom(
  'workflow',
  'updateManifest',
  'updateManifestSignature',
  'fileUrls',
  'rootKeyPackageUrl',
)
const workflow = { action: 3, id: 'W' }

/** The `service` of a twin: changed, with a hostile member, or rightly signed around hostile values. */
const services: fc.Arbitrary<unknown> = fc.oneof(
  { weight: 2, arbitrary: mutatedJson(good) },
  { weight: 1, arbitrary: hostile },
  { weight: 3, arbitrary: fc.tuple(members, hostile).map(([name, value]) => ({ ...good, workflow, [name]: value })) },
  {
    weight: 3,
    arbitrary: fc
      .record({ manifest: fc.oneof(fc.constant(MANIFEST), mutatedJson(MANIFEST)), file: urls, root: urls })
      .map(({ manifest, file, root }) => ({
        ...(cook(keys, { manifest: JSON.stringify(manifest) ?? '' }).service as object),
        ...{ workflow, fileUrls: { [fileId]: file.url }, rootKeyPackageUrl: root.url },
      })),
  },
)

export const documents = fc.record({
  first: services,
  second: fc.option(services, { nil: undefined, freq: 3 }),
  reported: fc.oneof({ weight: 3, arbitrary: fc.constant({}) }, { weight: 1, arbitrary: hostile }),
  location: urls.map(each => each.location),
  status: fc.constantFrom(200, 206, 301, 302, 404),
})
type Documents = typeof documents extends fc.Arbitrary<infer T> ? T : never

/** Hours pass at once; who waits for longer waits for news. */
class HastyClock implements Clock {
  #now = 0
  monotonic = (): number => this.#now
  now = (): Date => new Date(this.#now)
  random = (): number => 0.5
  async sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    if (milliseconds > EIGHT_HOURS) {
      await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }))
    }
    this.#now += milliseconds
    await turn()
    signal.throwIfAborted()
  }
}

let answer: Pick<Documents, 'location' | 'status'> = { location: '', status: 404 }
let network: Promise<{ port: number; content: HttpContent }> | undefined

async function connect(): Promise<{ port: number; content: HttpContent }> {
  const server = createServer(({ url }, response) => {
    const line = Buffer.from(answer.location)
      .toString('latin1')
      .replace(/\p{Cc}/gu, '\t')
    if (url === '/redirect') response.setHeader('Location', line)
    response.writeHead(url === '/redirect' ? Math.max(301, answer.status) : answer.status).end('x')
  }).unref()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  server.on('connection', socket => socket.unref())
  const { port } = server.address() as AddressInfo
  const here = new Hosts('the test', [`127.0.0.1:${port}`, `localhost:${port}`])
  const direct = { ca: undefined, httpProxy: undefined, httpsProxy: undefined, noProxy: [] }
  return { port, content: new HttpContent({ ...direct, stall: 500, hosts: { twin: here, method: here } }) }
}

/** Puts the documents before an agent. Rejects when its process would end, or when a deployment gets no final report. */
export async function put(given: Documents): Promise<void> {
  network ??= connect()
  const { port, content } = await network
  const filled = (value: unknown): unknown => {
    if (typeof value === 'string') return value.replaceAll('HOST', `127.0.0.1:${port}`).replaceAll('PORT', String(port))
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, filled(each)]))
  }
  const shallow = (service: unknown): unknown => {
    try {
      return filled(service)
    } catch {
      return service
    }
  }
  answer = { location: String(filled(given.location)), status: given.status }
  const sent = [given.first, given.second].filter(each => each !== undefined).map(shallow)
  const desired = sent.map((service, at) => ({ $version: at + 1, deviceUpdate: { __t: 'c', service } }))
  const reports: Reported[] = []
  let journal: Attempt | undefined
  let begun: Readonly<Record<string, WorkNote>> = {}
  let listener: ((patch: unknown) => void) | undefined
  const connection = (): HubConnection => ({
    name: 'pi1',
    lost: new AbortController().signal,
    readTwin: async () => ({ desired: desired[0], reported: given.reported }),
    report: async patch => {
      // As any client of a hub has to.
      JSON.stringify(patch)
      reports.push(patch)
    },
    onDesired: each => {
      listener = each
    },
    serve: () => {},
    close: async () => {},
  })
  const boot = { booted: 'a', primary: 'a', trial: 'none', tries: 0 } as const
  const ports: Ports = {
    conditions: calm,
    flight: { expect: async () => {}, note: async () => {}, read: async () => undefined },
    boot: {
      read: async () => boot,
      arm: async () => {},
      start: async () => [],
      commit: async () => {},
      fallBack: async () => {},
    },
    hub: { connect: async () => connection() },
    content,
    installer: {
      async install(bundle) {
        for await (const _ of bundle);
      },
    },
    leftovers: noLeftovers,
    journal: {
      read: async () => (journal ? { is: 'attempt', attempt: structuredClone(journal) } : { is: 'none' }),
      write: async attempt => {
        journal = structuredClone(attempt)
      },
    },
    workNotes: {
      read: async () => ({ boot: '', begun }),
      write: async notes => {
        begun = notes
      },
    },
    keyStore: { read: async () => undefined, write: async () => {} },
    steps: noSteps,
    workFolder: noWorkFolder,
    host: {
      bootId: async () => '1',
      version: async () => '1.0.0',
      reboot: async () => {},
      failedUnits: async () => [],
      findings: async () => [],
      information: async () => ({}),
    },
    events: { tell() {}, saw() {} },
    clock: new HastyClock(),
    log: { debug() {}, info() {}, warn() {}, error() {} },
  }
  const stop = new AbortController()
  const over = new Error('over')
  const trust = { ...OPTIONS.twin.trust, anchors: { builtIn, configured: [] } }
  const agent = new Agent(ports, { ...OPTIONS, twin: { ...OPTIONS.twin, trust } })
  let ended: { why: unknown } | undefined
  const running = agent.run(stop.signal).catch(why => {
    if (why !== over) ended = { why }
  })
  for (const [at, document] of desired.entries()) {
    if (at > 0) {
      await until(() => ended !== undefined || listener !== undefined)
      try {
        listener?.(document)
      } catch (error) {
        if (!(error instanceof HubError)) throw error
      }
    }
    const deployment = readDesired(document).service
    const answered = (): boolean => reports.some(patch => isFinal(patch, deployment?.workflow.id))
    if (deployment) await until(() => ended !== undefined || answered())
    else for (let turns = 0; turns < 30 && !ended; turns++) await turn()
    if (deployment && !ended) assert.ok(answered(), 'the twin has no final report')
  }
  stop.abort(over)
  await running
  if (ended) throw new Error('the process would have ended', { cause: ended.why })
  assert.deepEqual(begun, {}, 'a note of work was left behind')
}

function isFinal(patch: Reported, id: string | undefined): boolean {
  const { deviceUpdate } = patch as { deviceUpdate?: { agent?: { state?: number; workflow?: { id?: string } } } }
  const { state, workflow: shown } = deviceUpdate?.agent ?? {}
  return shown?.id === id && (state === 0 || state === 255)
}

/** Lets everything run until `done`, for ten seconds at most. */
async function until(done: () => boolean): Promise<void> {
  const end = performance.now() + 10_000
  while (!done() && performance.now() < end) await turn()
}
