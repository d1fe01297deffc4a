import { createHash } from 'node:crypto'
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { TestContext } from 'node:test'
import { StepService } from '../../src/adapters/steps/step-service.ts'
import { systemClock } from '../../src/adapters/system/clock.ts'
import type { SignedText } from '../../src/domain/deployment.ts'
import { AgentError } from '../../src/domain/errors.ts'
import type { StepResult } from '../../src/domain/step-record.ts'
import { SILENT } from '../../src/ports/log.ts'
import type { StepOrder, Verb } from '../../src/ports/steps.ts'
import { groupLauncher, type Launcher } from '../../src/steps/launch.ts'
import { Orders } from '../../src/steps/orders.ts'
import { StepServer } from '../../src/steps/server.ts'
import type { Job, Workers } from '../../src/steps/worker.ts'
import { publicNumbers } from '../bench/authoring/keys.ts'
import { cook, type Keys, type Recipe } from '../bench/authoring/recipe.ts'
import { newKeys } from '../trust/flaws/flaw.ts'

export const KEYS: Keys = newKeys()

/** A step's user that every machine has; only a service of root uses it. */
const USER = 'nobody'

/** What the owner allows in these tests. */
export const SETTINGS = {
  rootKeys: KEYS.roots.map(({ kid, privateKey }) => ({ kid, ...publicNumbers(privateKey) })),
  scripts: { run: 'on', user: USER },
}

export interface Update {
  /** Content by file name; the first is the script. */
  readonly files: Readonly<Record<string, string>>
  readonly version?: string
  readonly provider?: string
  readonly handler?: string
  readonly properties?: object
  /** How the text is signed, or changed after that. */
  readonly change?: Partial<Recipe>
}

/** The signed text of an update with one script step. */
export function signed({ files, change = {}, ...more }: Update): SignedText {
  const { version = '1.0.0', provider = 'Contoso', handler = 'microsoft/script:1', properties = {} } = more
  const entries = Object.entries(files).map(([fileName, content], at) => [
    `f${at}`,
    { fileName, sizeInBytes: Buffer.byteLength(content), hashes: { sha256: hashOf(content) } },
  ])
  const step = {
    handler,
    files: entries.map(([id]) => id),
    handlerProperties: { scriptFileName: Object.keys(files)[0], installedCriteria: '1', ...properties },
  }
  const manifest = {
    manifestVersion: '5',
    updateId: { provider, name: 'Steps', version },
    compatibility: [{ manufacturer: 'contoso' }],
    instructions: { steps: [step] },
    files: Object.fromEntries(entries),
    createdDateTime: '2024-04-04T19:18:19.0123317Z',
  }
  const { updateManifest, updateManifestSignature } = cook(KEYS, { manifest, ...change }).service as Record<
    string,
    string
  >
  return { manifest: updateManifest ?? '', signature: updateManifestSignature ?? '', detached: [] }
}

const hashOf = (content: string): string => createHash('sha256').update(content).digest('base64')

/** Runs the step's script with the verb as its argument; the exit code becomes the result. */
export const scriptRunner: Workers = {
  script: {
    async run(verb: Verb, job: Job, signal: AbortSignal): Promise<StepResult> {
      const script = join(job.folder, job.plan.probe[0]?.fileName ?? '')
      const options = { signal, writes: 'folder', ...(job.runAs === undefined ? {} : { user: job.runAs }) } as const
      const onLine = (line: string): void => job.progress(Number(/^progress (\d+)/.exec(line)?.[1]))
      const { exitCode, tail, complaint = '' } = await job.launch([script, verb], { ...options, onLine })
      const resultCode = exitCode === 0 && !signal.aborted ? 600 : signal.aborted ? -1 : 0
      return { resultCode, extendedResultCode: exitCode ?? 0, resultDetails: `${complaint}${tail}` }
    },
  },
}

export interface Bench {
  /** Everyone may pass through it. */
  readonly dir: string
  /** The agent's folder. */
  readonly agent: string
  readonly state: string
  readonly settings: string
  readonly socket: string
  readonly client: StepService
  readonly orders: Orders
  /** A new step service on the same state, as after a power cut. */
  restart(): Promise<void>
  /** Puts the files into the agent's folder, and orders the verb of the first step. */
  order(update: Update, more?: Partial<StepOrder>): Promise<StepOrder>
  run(order: StepOrder, progress?: (percent: number) => void): Promise<StepResult | string>
  /** How often a script that appends to it has run. */
  effects(): Promise<readonly string[]>
  /** A script that tells `effects` its argument. */
  script(more?: string): string
}

let ids = 0

/** A step service in this process, which goes with the test. */
export async function aService(
  t: TestContext,
  {
    settings = {} as object,
    workers = scriptRunner,
    launcher = groupLauncher as Launcher,
    idle = undefined as number | undefined,
    onIdle = () => {},
  } = {},
): Promise<Bench> {
  const dir = await mkdtemp(join(tmpdir(), 'steps-'))
  await chmod(dir, 0o711)
  const at = (name: string) => join(dir, name)
  const [agent, state, effects] = [at('agent'), at('state'), at('effects')]
  await mkdir(agent)
  await mkdir(state, { mode: 0o711 })
  await writeFile(effects, '')
  await chmod(effects, 0o666)
  await writeFile(at('steps.json'), JSON.stringify({ ...SETTINGS, ...settings }), { mode: 0o644 })
  let orders: Orders
  let server: StepServer
  const start = async (): Promise<void> => {
    orders = new Orders({ state, settings: at('steps.json'), workers, launcher }, SILENT)
    server = new StepServer(orders, { idle, onIdle }, SILENT)
    await rm(at('socket'), { force: true })
    await new Promise<void>(resolve => server.server.listen(at('socket'), resolve))
  }
  await start()
  t.after(async () => {
    server.close()
    while (orders.busy) await new Promise(resolve => setTimeout(resolve, 20))
    await rm(dir, { recursive: true, force: true })
  })
  const keyStore = { read: async () => undefined }
  const client = new StepService({ socket: at('socket'), keyStore, clock: systemClock })
  return {
    ...{ dir, agent, state, settings: at('steps.json'), socket: at('socket'), client },
    get orders() {
      return orders
    },
    async restart() {
      server.close()
      await start()
    },
    async order(update, more = {}) {
      for (const [name, content] of Object.entries(update.files)) await writeFile(join(agent, name), content)
      ids += 1
      return { id: `order-${ids}`, signed: signed(update), path: [0], verb: 'install', folder: agent, ...more }
    },
    run: (order, progress = () => {}) => answerOf(client.run(order, progress, NEVER)),
    async effects() {
      return (await readFile(effects, 'utf8')).split('\n').filter(Boolean)
    },
    script: (more = '') => `#!/bin/sh\necho "$1" >> '${effects}'\n${more}\n`,
  }
}

export const NEVER = new AbortController().signal

/** A refusal as `CODE: message`. */
export async function answerOf(running: Promise<StepResult>): Promise<StepResult | string> {
  try {
    return await running
  } catch (error) {
    if (!(error instanceof AgentError)) throw error
    return `${error.extendedResultCode.toString(16)} ${error.code}: ${error.message}`
  }
}

/** A client that sends what it likes; `lines`: what it was answered until the connection ended. */
export function rawClient(socket: string): { readonly socket: Socket; readonly lines: Promise<readonly string[]> } {
  const client = connect(socket)
  client.on('error', () => {})
  const lines: string[] = []
  const reader = createInterface({ input: client })
  reader.on('line', line => lines.push(line))
  return {
    socket: client,
    lines: new Promise(resolve => {
      client.once('close', () => {
        reader.close()
        resolve(lines)
      })
    }),
  }
}

/** Sends one line, and gives the answers. */
export function sent(socket: string, line: string | Buffer): Promise<readonly string[]> {
  const client = rawClient(socket)
  client.socket.write(line)
  client.socket.write('\n')
  return client.lines
}
