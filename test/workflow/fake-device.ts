import assert from 'node:assert/strict'
import { createHash, generateKeyPairSync } from 'node:crypto'
import { Agent } from '../../src/agent.ts'
import { AgentError, HubError } from '../../src/domain/errors.ts'
import { other, type SlotName } from '../../src/domain/slot.ts'
import type { ContentPart, HubConnection, MethodAnswer, MethodListener, Ports, Reported } from '../../src/ports.ts'
import { mergePatch } from '../../src/workflow/merge-patch.ts'
import type { Mood } from '../../src/workflow/mood.ts'
import { publicNumbers } from '../bench/authoring/keys.ts'
import { signManifest } from '../bench/authoring/sign.ts'
import { VirtualClock } from './virtual-clock.ts'

const rootKey = { kid: 'TEST.ROOT', privateKey: generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey }
const signingKey = { kid: 'TEST.ROOT.S', privateKey: generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey }
const authority = { rootKey, signingKey, rootKeyJwks: [] }
const rootKeys = [{ kid: rootKey.kid, ...publicNumbers(rootKey.privateKey) }]

/** What is in a slot; `broken` while or after a write that did not end. */
export interface System {
  readonly version: string
  /** Never starts the agent, as after a kernel panic. */
  readonly panics?: boolean
  readonly findings?: readonly string[]
  readonly failedUnits?: readonly string[]
  /** Its agent cannot reach the hub. */
  readonly deaf?: boolean
}

export type Goal = { readonly id: string; readonly retryTimestamp?: string } & (
  | { readonly system: System; readonly criteria?: string }
  | { readonly cancel: true }
)

/** Where a run is disturbed: at the `at`-th effect, counted from 0 over all restarts. */
export interface Disturbance {
  readonly at: number
  readonly how: 'cutBefore' | 'cutAfter' | 'error' | 'killed' | Goal | Call
}

interface Connection {
  readonly lost: AbortController
  listener?: (patch: unknown) => void
  methods?: MethodListener
}

interface Call {
  readonly name: string
  readonly payload: unknown
}

class PowerCut extends Error {}

/** The machine around the agent in memory: flash that outlives a power cut, a boot script, a hub, a clock. */
export class FakeDevice {
  readonly slots: Record<SlotName, System | 'broken'> = { a: { version: '1.0.0' }, b: 'broken' }
  readonly boot = { primary: 'a' as SlotName, trial: 'none' as 'none' | 'pending' | 'failed', tries: 0 }
  readonly effects: string[] = []
  readonly moods: Mood[] = []
  readonly reports: Reported[] = []
  readonly answers: MethodAnswer[] = []
  #calls: Call[] = []
  booted: SlotName = 'a'
  boots = 0
  /** Of the agent, which may also be killed and started again without a boot. */
  starts = 0
  installs = 0
  desired: Record<string, unknown> = { $version: 1 }
  reported: unknown = {}
  #journal: string | undefined
  keyStore: Buffer | undefined
  #clock = new VirtualClock()
  #content = new Map<string, Buffer>()
  #connection: Connection | undefined
  #disturbances: Disturbance[]
  readonly #each = new Map<string, Disturbance['how']>()
  #power: AbortController | undefined
  #rebooting = false
  #crash: unknown

  constructor(disturbances: readonly Disturbance[] = []) {
    this.#disturbances = [...disturbances]
  }

  get system(): System {
    const system = this.slots[this.booted]
    assert.notEqual(system, 'broken', 'the booted slot was written to')
    return system as System
  }

  get journal(): unknown {
    return this.#journal === undefined ? undefined : JSON.parse(this.#journal)
  }

  get journalReported(): boolean {
    return (this.journal as { reported?: boolean } | undefined)?.reported === true
  }

  /** The agent has read the twin over a connection of this boot. */
  get connected(): boolean {
    return this.#connection?.listener !== undefined
  }

  /** From now on, whenever `effect` comes. */
  disturbEach(effect: string, how: 'cutBefore' | 'killed' | 'error' | 'none'): void {
    if (how === 'none') return void this.#each.delete(effect)
    this.#each.set(effect, how)
  }

  /** `deviceUpdate.agent` of the reported properties. */
  get status(): {
    state?: number
    workflow?: { id: string }
    installedUpdateId?: string
    lastInstallResult?: { resultCode: number; extendedResultCodes: string; resultDetails: string }
  } {
    return (this.reported as { deviceUpdate?: { agent?: object } }).deviceUpdate?.agent ?? {}
  }

  order(goal: Goal): void {
    const workflow = { id: goal.id, ...(goal.retryTimestamp ? { retryTimestamp: goal.retryTimestamp } : {}) }
    const service =
      'cancel' in goal
        ? {
            workflow: { action: 255, ...workflow },
            updateManifest: null,
            updateManifestSignature: null,
            fileUrls: null,
          }
        : this.#import(goal, workflow)
    this.patchDesired({ deviceUpdate: { service } })
  }

  /** As the service changes the desired properties. */
  patchDesired(change: object): void {
    const patch = { ...change, $version: (this.desired.$version as number) + 1 }
    this.desired = mergePatch(this.desired, patch) as Record<string, unknown>
    this.#connection?.listener?.(patch)
  }

  /** Of a direct method: at once, or when the agent is there to answer. The answer comes into `answers`. */
  call(name: string, payload: unknown): void {
    const methods = this.#connection?.methods
    if (methods) methods(name, payload).then(answer => this.answers.push(answer))
    else this.#calls.push({ name, payload })
  }

  /** Puts a bundle on the content server and gives its URL. */
  publish(system: System, name: string): string {
    const url = `https://content.test/${name}`
    this.#content.set(url, bundleOf(system))
    return url
  }

  /** `iothubDM.firmwareUpdate` of the reported properties. */
  get firmware(): Readonly<Record<string, unknown>> {
    const { iothubDM } = this.reported as { iothubDM?: { firmwareUpdate?: Record<string, unknown> } }
    return iothubDM?.firmwareUpdate ?? {}
  }

  #import(goal: Extract<Goal, { system: System }>, workflow: object): object {
    const { system, criteria = system.version } = goal
    const bundle = bundleOf(system)
    const url = this.publish(system, goal.id)
    const updateManifest = JSON.stringify({
      manifestVersion: '5',
      updateId: { provider: 'contoso', name: 'toaster', version: system.version },
      compatibility: [{ manufacturer: 'contoso', model: 'toaster' }],
      instructions: {
        steps: [
          {
            handler: 'microsoft/swupdate:2',
            files: ['f1'],
            handlerProperties: { installedCriteria: criteria, swuFileName: 'a.swu' },
          },
        ],
      },
      files: {
        f1: {
          fileName: 'a.swu',
          sizeInBytes: bundle.length,
          hashes: { sha256: createHash('sha256').update(bundle).digest('base64') },
        },
      },
    })
    return {
      workflow: { action: 3, ...workflow },
      updateManifest,
      updateManifestSignature: signManifest(updateManifest, authority),
      fileUrls: { f1: url },
    }
  }

  /** Boots, again and again, until `done` and everything waits; fails when that takes more than two days of its time. */
  async runUntil(done: () => boolean): Promise<void> {
    for (;;) {
      this.#start()
      const power = new AbortController()
      this.#power = power
      this.#rebooting = false
      this.#crash = undefined
      if (this.system.panics) continue
      this.starts += 1
      const running = new Agent(this.#ports(), OPTIONS).run(power.signal).catch(error => {
        if (!power.signal.aborted) this.#crash = error
        this.#rebooting = true
      })
      const settled = () => this.#rebooting || power.signal.aborted || done()
      const inTime = await this.#clock.passUntil(settled, 2 * 86_400_000)
      const over = !this.#rebooting && !power.signal.aborted
      power.abort(new PowerCut())
      await running
      this.#connection = undefined
      if (this.#crash && !(this.#crash instanceof PowerCut)) throw this.#crash
      assert.ok(
        inTime,
        `not settled: ${JSON.stringify({ boot: this.boot, booted: this.booted, journal: this.journal, status: this.status })}`,
      )
      if (over) return
      assert.ok(this.boots < 60, 'the device boots for ever')
    }
  }

  /** The boot script's rule (design, decision 5; image/boot). */
  #start(): void {
    this.boots += 1
    this.#connection = undefined
    if (this.boot.trial === 'pending') {
      if (this.boot.tries > 0) this.boot.tries -= 1
      else Object.assign(this.boot, { primary: other(this.boot.primary), trial: 'failed' })
    }
    this.booted = this.boot.primary
    if (this.slots[this.booted] === 'broken') {
      assert.equal(this.boot.trial, 'pending', 'a slot that was never whole is primary')
      this.#start()
    }
  }

  /** Undisturbed, for the contract tests: what holds for the adapters must hold for these. */
  plainPorts(): Omit<Ports, 'clock' | 'log' | 'indicator'> {
    return {
      boot: {
        read: async () => ({ booted: this.booted, ...this.boot }),
        tryNext: async slot => void Object.assign(this.boot, { primary: slot, trial: 'pending', tries: 3 }),
        keepBooted: async () => void Object.assign(this.boot, { primary: this.booted, trial: 'none', tries: 0 }),
        fallBack: async () => void Object.assign(this.boot, { primary: other(this.booted), trial: 'failed', tries: 0 }),
      },
      journal: {
        read: async () => (this.#journal === undefined ? undefined : JSON.parse(this.#journal)),
        write: async attempt => {
          this.#journal = JSON.stringify(attempt)
        },
      },
      keyStore: {
        read: async () => this.keyStore,
        write: async bytes => {
          this.keyStore = bytes
        },
      },
      host: {
        version: async () => this.system.version,
        reboot: async () => {
          this.#rebooting = true
        },
        failedUnits: async () => this.system.failedUnits ?? [],
        findings: async (_, known) => [
          ...(this.system.failedUnits ?? []).filter(unit => !known.includes(unit)),
          ...(this.system.findings ?? []),
        ],
        information: async () => ({ manufacturer: 'contoso', model: 'toaster', totalMemory: 1024 }),
      },
      content: { get: async (url, range) => this.#part(url, range) },
      installer: { install: (bundle, into, signal) => this.#install(bundle, into, signal) },
      hub: { connect: async () => this.#connect() },
    }
  }

  #ports(): Ports {
    const log = { debug() {}, info() {}, warn() {}, error() {} }
    const ports = this.plainPorts()
    const hub = { connect: async () => this.#effective('hub', this.#connect(), HUB_ERROR) as HubConnection }
    Object.assign(ports, { hub })
    const effective = Object.fromEntries(
      Object.entries(ports).map(([name, port]) => [
        name,
        this.#effective(name, port, name === 'hub' ? HUB_ERROR : AGENT_ERROR),
      ]),
    ) as unknown as typeof ports
    return { ...effective, clock: this.#clock, log, indicator: { show: mood => void this.moods.push(mood) } }
  }

  /** Every async method of a port is an effect: counted, and disturbed where the test wants it. */
  #effective<T extends object>(name: string, port: T, failure: () => Error): T {
    return new Proxy(port, {
      get: (target, key) => {
        const value = Reflect.get(target, key)
        if (typeof value !== 'function' || key === 'onDesired' || key === 'serve') return value
        return async (...args: unknown[]) => {
          const power = this.#power
          const at = this.effects.push(`${name}.${String(key)}`) - 1
          const hits = this.#disturbances.filter(each => each.at === at).map(each => each.how)
          const always = this.#each.get(`${name}.${String(key)}`)
          if (always) hits.push(always)
          for (const how of hits) {
            if (typeof how !== 'object') continue
            if ('name' in how) this.call(how.name, how.payload)
            else this.order(how)
          }
          if (power?.signal.aborted) throw new PowerCut()
          if (hits.includes('cutBefore')) this.#cut()
          if (hits.includes('killed')) this.#kill()
          if (hits.includes('error')) throw failure()
          const result = await value.apply(target, args)
          if (hits.includes('cutAfter')) this.#cut()
          // Time for the power to go while something hangs.
          if (power?.signal.aborted && power === this.#power) throw new PowerCut()
          return result
        }
      },
    })
  }

  #cut(): never {
    this.#power?.abort(new PowerCut())
    throw new PowerCut()
  }

  /** The agent alone dies; its machine restarts it without a boot. */
  #kill(): never {
    this.boots -= 1
    if (this.boot.trial === 'pending' && this.booted === this.boot.primary) this.boot.tries += 1
    this.#cut()
  }

  #part(url: string, { first, last }: { first: number; last: number }): ContentPart {
    const file = this.#content.get(url)
    assert.ok(file)
    async function* body(): AsyncGenerator<Buffer> {
      for (let at = first; at <= last && at < (file as Buffer).length; at += 32_768)
        yield (file as Buffer).subarray(at, Math.min(at + 32_768, last + 1, (file as Buffer).length))
    }
    return { first, last: Math.min(last, file.length - 1), total: file.length, etag: '"1"', body: body() }
  }

  async #install(bundle: AsyncIterable<Buffer>, into: SlotName, signal: AbortSignal): Promise<void> {
    assert.notEqual(into, this.booted, 'the booted slot is being written')
    assert.ok(this.boot.primary !== into || this.boot.trial !== 'pending', 'the slot that starts next is being written')
    this.installs += 1
    this.slots[into] = 'broken'
    const chunks: Buffer[] = []
    for await (const chunk of bundle) {
      signal.throwIfAborted()
      chunks.push(Buffer.from(chunk))
    }
    const [head] = Buffer.concat(chunks).toString('latin1').split('\n')
    this.slots[into] = JSON.parse(head ?? '')
  }

  #connect(): HubConnection {
    if (this.system.deaf) throw HUB_ERROR()
    const lost = new AbortController()
    const connection: Connection = { lost }
    this.#connection = connection
    return {
      lost: lost.signal,
      readTwin: async () => structuredClone({ desired: this.desired, reported: this.reported }),
      report: async patch => {
        this.reports.push(patch)
        this.reported = mergePatch(this.reported, structuredClone(patch))
      },
      onDesired: listener => {
        connection.listener = listener
      },
      serve: (_names, methods) => {
        const [call] = this.#calls
        this.#calls = []
        if (call) methods(call.name, call.payload).then(answer => this.answers.push(answer))
        connection.methods = methods
      },
      close: async () => lost.abort(new HubError('closed')),
    }
  }
}

const bundleOf = (system: System): Buffer =>
  Buffer.concat([Buffer.from(`${JSON.stringify(system)}\n`), Buffer.alloc(200_000, 7)])

const AGENT_ERROR = () => new AgentError('INTERNAL', 'disturbed by the test')
const HUB_ERROR = () => new HubError('disturbed by the test')

const OPTIONS = {
  twin: {
    device: {
      manufacturer: 'contoso',
      model: 'toaster',
      additional: {},
      compatPropertyNames: 'manufacturer,model',
      agentVersion: '0.0.0',
    },
    trust: {
      anchors: { builtIn: rootKeys, configured: [] },
      compatibility: 'enforce' as const,
      properties: { manufacturer: 'contoso', model: 'toaster' },
      fetch: { rangeBytes: 65_536, timeout: 8 * 3600_000 },
    },
    connectionLifetime: 20 * 3600_000,
    spread: 0,
  },
  trial: { timeout: 600_000, retry: 10_000 },
  fetch: { rangeBytes: 65_536, timeout: 8 * 3600_000 },
  downgrade: { allowDowngrade: true },
  rebootPatience: 300_000,
  methods: {
    firmwareUpdate: { enabled: true, allowedHosts: ['content.test'], requireSha256: false },
    reboot: { enabled: true },
  },
  firmware: { stage: 1000, progress: { percent: 10, every: 30_000 } },
}
