import assert from 'node:assert/strict'
import { createHash, generateKeyPairSync } from 'node:crypto'
import type { Disk } from '../../src/adapters/files/disk.ts'
import { FileJournal } from '../../src/adapters/files/journal.ts'
import type { Attempt } from '../../src/domain/attempt.ts'
import type { CommandName } from '../../src/domain/command.ts'
import type { Component } from '../../src/domain/deployment.ts'
import { AgentError, ContentError, HubError } from '../../src/domain/errors.ts'
import type { FlightBoot } from '../../src/domain/flight.ts'
import type { LocalFacts } from '../../src/domain/gate.ts'
import { RESULT_CODE } from '../../src/domain/result-codes.ts'
import { other, type SlotName } from '../../src/domain/slot.ts'
import { BUNDLE_HANDLER } from '../../src/domain/step-record.ts'
import { type GateSettings, NO_GATES } from '../../src/gates/gates.ts'
import { IMAGES_ONLY } from '../../src/handlers/capabilities.ts'
import { mergePatch } from '../../src/hub/merge-patch.ts'
import type { ContentPart, ContentRange } from '../../src/ports/content.ts'
import type { HubConnection, MethodAnswer, MethodListener, Reported } from '../../src/ports/hub.ts'
import type { Log } from '../../src/ports/log.ts'
import type { Ports } from '../../src/ports/ports.ts'
import type { Tried } from '../../src/ports/tried.ts'
import { deviceUpdateContract } from '../../src/sources/device-update/contract.ts'
import { firmwareReporter } from '../../src/sources/firmware-update/report.ts'
import { localReporter } from '../../src/sources/local/report.ts'
import type { OnceOrigins, Outcome } from '../../src/sources/once-source.ts'
import type { Reporters } from '../../src/sources/reporter.ts'
import type { TwinContract } from '../../src/sources/twin-contract.ts'
import type { Look } from '../../src/view/changes.ts'
import type { AgentEvent } from '../../src/view/event.ts'
import { Agent } from '../../src/workflow/agent.ts'
import type { DowngradePolicy } from '../../src/workflow/downgrade.ts'
import { AgentRestart } from '../../src/workflow/perform/restart-agent.ts'
import { publicNumbers } from '../bench/authoring/keys.ts'
import { signManifest } from '../bench/authoring/sign.ts'
import { decide } from '../bench/workbench/boot-rule.ts'
import { injected } from '../contract/injected.ts'
import { CALM } from '../gates/calm.ts'
import { FakeLeftovers } from './fake-leftovers.ts'
import { FakeSteps, type StepSpec } from './fake-steps.ts'
import type { MemoryDisk } from './memory-disk.ts'
import { MemoryWorkFolder } from './memory-work-folder.ts'
import { VirtualClock } from './virtual-clock.ts'
import { watched } from './watched.ts'

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

/** A reference step; at most one in a list. */
export interface Part {
  /** The components that it is for. */
  readonly group: string
  readonly child: readonly StepSpec[]
}

export type Goal = { readonly id: string; readonly retryTimestamp?: string } & (
  | { readonly system: System; readonly criteria?: string }
  /** A list; an image counts by its system. `version`: of the update. */
  | { readonly list: readonly (StepSpec | { readonly system: System } | Part)[]; readonly version?: string }
  | { readonly cancel: true }
)

/** Where a run is disturbed: at the `at`-th effect, counted from 0 over all restarts. */
export interface Disturbance {
  readonly at: number
  readonly how: 'cutBefore' | 'cutAfter' | 'error' | 'errorAfter' | 'fault' | 'killed' | Goal | Call | (() => void)
}

interface Connection {
  readonly lost: AbortController
  listener?: (patch: unknown) => void
  early: unknown[]
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
  /** What whoever watches is told, over all starts. */
  readonly told: (AgentEvent | Look)[] = []
  readonly reports: Reported[] = []
  /** Called when the hub has a report. */
  onReported: () => void = () => {}
  readonly answers: MethodAnswer[] = []
  readonly outcomes: (readonly [CommandName, Outcome])[] = []
  #agent: Agent | undefined
  #calls: Call[] = []
  booted: SlotName = 'a'
  boots = 0
  /** Of the agent, which may also be killed and started again without a boot. */
  starts = 0
  installs = 0
  /** It stays up whatever is asked. */
  ignoresReboots = false
  desired: Record<string, unknown> = { $version: 1 }
  reported: unknown = {}
  /** Where the journal is kept as on a real disk; undefined: in one piece. */
  disk: MemoryDisk | undefined
  #journal: string | undefined
  /** Whether each effect on `disk` counts, and is disturbed, too. */
  watchesDisk = false
  /** What the agent logged as a warning or an error: the events. */
  readonly logged: string[] = []
  keyStore: Buffer | undefined
  workNotes = '{}'
  /** What its sticks have brought; on the disk. */
  tried: readonly string[] = []
  flight: { readonly key: string; readonly boots: FlightBoot[] } | undefined
  downgrade: DowngradePolicy = OPTIONS.downgrade
  /** Further origins. */
  once: OnceOrigins = {}
  reporters: Reporters = OPTIONS.reporters
  contract: TwinContract = OPTIONS.twin.contract
  /** Whether the hub can be reached. */
  network = true
  /** What keeps an update waiting. */
  facts: LocalFacts = CALM
  gates: GateSettings = NO_GATES
  readonly workFolder = new MemoryWorkFolder()
  /** Root's half of the device, which goes on when the agent dies. */
  readonly service = new FakeSteps(
    () => this.boots,
    (point, work) => this.#disturbed(`service.${point}`, work),
    () => this.onEffect(),
  )
  /** Undefined: it has no list of them. */
  components: readonly Component[] | undefined
  /** Called before a step or an image has its first effect. */
  onEffect: () => void = () => {}
  readonly #leftovers = new FakeLeftovers()
  readonly #log: Log = {
    debug() {},
    info() {},
    warn: event => void this.logged.push(event),
    error: event => void this.logged.push(event),
  }
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
    const [line = ''] = (this.disk ? this.disk.files.get('journal.json')?.toString() : this.#journal)?.split('\n') ?? []
    try {
      return JSON.parse(line)
    } catch {
      return undefined
    }
  }

  get journalReported(): boolean {
    return (this.journal as { reported?: boolean } | undefined)?.reported === true
  }

  /** Milliseconds of its time since it was made. */
  get passed(): number {
    return this.#clock.monotonic()
  }

  /** The agent has read the twin over a connection of this boot. */
  get connected(): boolean {
    return this.#connection?.listener !== undefined
  }

  /** From now on, whenever `effect` comes. */
  disturbEach(effect: string, how: 'cutBefore' | 'killed' | 'error' | 'fault' | 'none'): void {
    if (how === 'none') return void this.#each.delete(effect)
    this.#each.set(effect, how)
  }

  /** `deviceUpdate.agent` of the reported properties. */
  get status(): {
    state?: number
    workflow?: { id: string }
    installedUpdateId?: string
    lastInstallResult?: {
      resultCode: number
      extendedResultCodes: string
      resultDetails: string
      stepResults?: Readonly<Record<string, { resultCode: number }>> | null
    }
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
        : 'list' in goal
          ? this.#importList(goal, workflow)
          : this.#import(goal, workflow)
    this.patchDesired({ deviceUpdate: { service } })
  }

  /** Puts a folder with a deployment on a stick and gives its path; `change` disturbs it. */
  bring(system: System, change: (service: Record<string, unknown>) => unknown = service => service): string {
    const folder = `/stick/${system.version}`
    const { fileUrls: _, ...service } = this.#import({ id: system.version, system }, {}) as Record<string, unknown>
    const deployment = change({ ...service, fileUrls: { f1: 'a.swu' } })
    this.#content.set(`file://${folder}/a.swu`, bundleOf(system))
    this.#content.set(`file://${folder}/deployment.json`, Buffer.from(JSON.stringify(deployment)))
    return folder
  }

  /** The same with a list of steps. */
  bringList(name: string, list: Extract<Goal, { list: readonly unknown[] }>['list'], version?: string): string {
    const folder = `/stick/${name}`
    const goal = { id: name, list, ...(version === undefined ? {} : { version }) }
    const service = this.#importList(goal, {}) as { readonly fileUrls: Readonly<Record<string, string>> }
    const fileUrls = Object.fromEntries(Object.keys(service.fileUrls).map(id => [id, `${id}.bin`]))
    for (const [id, url] of Object.entries(service.fileUrls)) this.copy(url, `file://${folder}/${id}.bin`)
    const deployment = { ...service, workflow: undefined, fileUrls }
    this.#content.set(`file://${folder}/deployment.json`, Buffer.from(JSON.stringify(deployment)))
    return folder
  }

  /** A file on the stick. */
  put(path: string, text: string): void {
    this.#content.set(`file://${path}`, Buffer.from(text))
  }

  copy(from: string, to: string): void {
    this.#content.set(to, this.#content.get(from) ?? assert.fail(from))
  }

  /** Of a source of its own in the same process; what the agent does with them counts, and this does not. */
  portsForSources(): Pick<Ports, 'content' | 'clock' | 'journal'> & { readonly tried: Tried } {
    const { content, journal } = this.plainPorts()
    const tried: Tried = {
      read: async () => this.tried,
      write: async list => {
        this.tried = list
      },
    }
    const disturbed = watched<Tried>('tried', tried, (effect, work) => this.#disturbed(effect, work))
    return { content, journal, tried: disturbed, clock: this.#clock }
  }

  /** The network goes, also from under an open connection. */
  loseNetwork(): void {
    this.network = false
    this.#connection?.lost.abort(new HubError('lost'))
  }

  /** Somebody pulls the stick. */
  pull(): void {
    for (const url of [...this.#content.keys()]) if (url.startsWith('file:')) this.#content.delete(url)
  }

  /** As the service signs a manifest. */
  sign(manifest: string): string {
    return signManifest(manifest, authority)
  }

  /** As the service changes the desired properties. */
  patchDesired(change: object): void {
    const patch = { ...change, $version: (this.desired.$version as number) + 1 }
    this.desired = mergePatch(this.desired, patch) as Record<string, unknown>
    const connection = this.#connection
    if (connection?.listener) connection.listener(patch)
    else connection?.early.push(patch)
  }

  /** Somebody at the device orders this; the answer comes into `outcomes`. */
  ask(command: CommandName): void {
    this.#agent?.ask(command).then(outcome => this.outcomes.push([command, outcome]))
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

  #importList({ id, list, version = '9.0.0' }: Extract<Goal, { list: readonly unknown[] }>, workflow: object): object {
    const files: Record<string, object> = {}
    const fileUrls: Record<string, string> = {}
    const add = (fileId: string, fileName: string, content: Buffer, into = files): string => {
      const url = `https://content.test/${id}/${fileId}`
      this.#content.set(url, content)
      const sha256 = createHash('sha256').update(content).digest('base64')
      into[fileId] = { fileName, sizeInBytes: content.length, hashes: { sha256 } }
      fileUrls[fileId] = url
      return fileId
    }
    const work = (spec: StepSpec, at: string, into = files) => {
      // Parent and child have files of one name.
      const payload = add(`f${at}`, `${at.split('.').at(-1)}.bin`, Buffer.from(`payload ${at} of ${id}`), into)
      return { handler: spec.handler ?? 'contoso/work:1', files: [payload], handlerProperties: { ...spec } }
    }
    const part = ({ group, child }: Part, at: number) => {
      const own: Record<string, object> = {}
      const steps = child.map((spec, index) => work(spec, `${at}.${index}`, own))
      const updateId = { provider: 'contoso', name: 'part', version }
      const manifest = {
        manifestVersion: '5',
        updateId,
        compatibility: [{ group }],
        instructions: { steps },
        files: own,
      }
      const content = Buffer.from(JSON.stringify({ updateManifest: JSON.stringify(manifest) }))
      return { type: 'reference', detachedManifestFileId: add(`c${at}`, `${at}.json`, content) }
    }
    const steps = list.map((spec, at) => {
      if ('system' in spec) {
        const properties = { installedCriteria: spec.system.version, swuFileName: `${at}.swu` }
        const bundle = add(`f${at}`, `${at}.swu`, bundleOf(spec.system))
        return { handler: 'microsoft/swupdate:2', files: [bundle], handlerProperties: properties }
      }
      return 'child' in spec ? part(spec, at) : work(spec, String(at))
    })
    const updateManifest = JSON.stringify({
      manifestVersion: '5',
      updateId: { provider: 'contoso', name: 'list', version },
      compatibility: [{ manufacturer: 'contoso', model: 'toaster' }],
      instructions: { steps },
      files,
    })
    const updateManifestSignature = signed(updateManifest)
    return { workflow: { action: 3, ...workflow }, updateManifest, updateManifestSignature, fileUrls }
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
      updateManifestSignature: signed(updateManifest),
      fileUrls: { f1: url },
    }
  }

  /** Boots, again and again, until `done` and everything waits; fails when that takes more than two days of its time. */
  async runUntil(done: () => boolean): Promise<void> {
    for (;;) {
      this.powerOn()
      const power = new AbortController()
      this.#power = power
      this.#rebooting = false
      this.#crash = undefined
      if (this.system.panics) continue
      this.starts += 1
      this.#agent = new Agent(this.#ports(), {
        ...OPTIONS,
        twin: {
          ...OPTIONS.twin,
          contract: this.contract,
          trust: { ...OPTIONS.twin.trust, look: () => this.#lookedAt() },
        },
        ...{ downgrade: this.downgrade, gates: this.gates, once: this.once, reporters: this.reporters },
      })
      const running = this.#agent.run(power.signal).catch(error => {
        // The machine stays up, and starts the agent again.
        if (error instanceof AgentRestart) this.boots -= 1
        else if (!power.signal.aborted) this.#crash = error
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

  /** By the boot script's rule (image/boot/boot.cmd). */
  powerOn(): void {
    this.boots += 1
    this.#connection = undefined
    const { boot: slot, write } = decide(this.boot, undefined)
    Object.assign(this.boot, write)
    this.booted = slot
    if (this.slots[this.booted] === 'broken') {
      assert.equal(this.boot.trial, 'pending', 'a slot that was never whole is primary')
      this.powerOn()
    }
  }

  /** What it lets steps do, and its components. */
  async #lookedAt() {
    const { look } = OPTIONS.twin.trust
    return { ...(await look()), ...(this.components ? { components: this.components } : {}) }
  }

  #fileJournal(disk: MemoryDisk): FileJournal {
    const on = this.watchesDisk ? watched<Disk>('disk', disk, (effect, work) => this.#disturbed(effect, work)) : disk
    return new FileJournal('journal.json', this.#log, on)
  }

  /** Undisturbed, for the contract tests: what holds for the adapters must hold for these. */
  plainPorts(): Omit<Ports, 'clock' | 'log' | 'events'> {
    return {
      boot: {
        read: async () => ({ booted: this.booted, ...this.boot }),
        arm: async slot => void Object.assign(this.boot, { primary: slot, trial: 'pending', tries: 3 }),
        start: async () => [],
        commit: async () => void Object.assign(this.boot, { primary: this.booted, trial: 'none', tries: 0 }),
        fallBack: async () => void Object.assign(this.boot, { primary: other(this.booted), trial: 'failed', tries: 0 }),
      },
      journal: {
        read: async () => {
          if (this.disk) return this.#fileJournal(this.disk).read()
          return this.#journal === undefined ? { is: 'none' } : { is: 'attempt', attempt: JSON.parse(this.#journal) }
        },
        write: async attempt => {
          assertTrue(attempt)
          if (this.disk) return this.#fileJournal(this.disk).write(attempt)
          this.#journal = JSON.stringify(attempt)
        },
      },
      workNotes: {
        read: async () => ({ boot: String(this.boots), begun: JSON.parse(this.workNotes) }),
        write: async begun => {
          this.workNotes = JSON.stringify(begun)
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
        bootId: async () => String(this.boots),
        reboot: async () => {
          this.#rebooting = !this.ignoresReboots
        },
        failedUnits: async () => this.system.failedUnits ?? [],
        findings: async (_, known) => [
          ...(this.system.failedUnits ?? []).filter(unit => !known.includes(unit)),
          ...(this.system.findings ?? []),
        ],
        information: async () => ({ manufacturer: 'contoso', model: 'toaster', totalMemory: 1024 }),
      },
      conditions: {
        read: async () => this.facts,
        forgetConsent: async () => {
          if (this.facts.consent) this.facts = { ...this.facts, consent: false }
        },
      },
      flight: {
        expect: async key => {
          this.flight = { key, boots: [] }
        },
        note: async key => {
          if (this.flight?.key === key) this.flight.boots.push({ id: String(this.boots), milestones: [] })
        },
        read: async key => (this.flight?.key === key && this.flight.boots.length > 0 ? this.flight.boots : undefined),
      },
      content: { get: async (url, range) => this.#part(url, range) },
      installer: { install: async (bundle, into, signal) => this.#install(bundle, into, signal) },
      leftovers: this.#leftovers,
      steps: { run: async (order, progress, signal) => this.service.run(order, progress, signal) },
      workFolder: this.workFolder,
      hub: { connect: async () => this.#connect() },
    }
  }

  #ports(): Ports {
    const plain = Object.entries(this.plainPorts())
    const ports = plain.map(([name, port]) => [
      name,
      watched<object>(name, port, (effect, work) => this.#disturbed(effect, work)),
    ])
    return {
      ...(Object.fromEntries(ports) as ReturnType<FakeDevice['plainPorts']>),
      ...{ clock: this.#clock, log: this.#log },
      events: { tell: event => void this.told.push(event), saw: look => void this.told.push(look) },
    }
  }

  /** Every effect is counted, and disturbed where the test wants it. */
  async #disturbed<T>(effect: string, work: () => Promise<T>): Promise<T> {
    const power = this.#power
    const at = this.effects.push(effect) - 1
    const hits = this.#disturbances.filter(each => each.at === at).map(each => each.how)
    const always = this.#each.get(effect)
    if (always) hits.push(always)
    for (const how of hits) {
      if (typeof how === 'function') how()
      if (typeof how !== 'object') continue
      if ('name' in how) this.call(how.name, how.payload)
      else this.order(how)
    }
    if (power?.signal.aborted) throw new PowerCut()
    if (hits.includes('cutBefore')) this.#cut()
    if (hits.includes('killed')) this.#kill()
    if (hits.includes('error')) throw errorOf(effect)
    if (hits.includes('fault')) throw new TypeError('a fault of the test')
    const result = await work()
    if (hits.includes('cutAfter')) this.#cut()
    if (hits.includes('errorAfter')) throw errorOf(effect)
    // Time for the power to go while something hangs.
    if (power?.signal.aborted && power === this.#power) throw new PowerCut()
    return result
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

  #part(url: string, { first, last, origin }: ContentRange): ContentPart {
    // The adapter reads files of local deployments only.
    if (url.startsWith('file:')) assert.equal(origin, 'local', url)
    const file = this.#content.get(url)
    const absent = { code: 'LOCAL_FILE', cause: { code: 'ENOENT' } } as const
    if (url.startsWith('file:') && !file) throw new ContentError('it is not there', 'never', absent)
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
    this.onEffect()
    const running = (this.journal as Attempt | undefined)?.steps.filter(({ state }) => state === 'running')
    assert.equal(running?.length ?? 1, 1, 'SWUpdate starts, and the journal does not know')
    this.slots[into] = 'broken'
    const chunks: Buffer[] = []
    for await (const chunk of bundle) {
      signal.throwIfAborted()
      chunks.push(Buffer.from(chunk))
    }
    const [head] = Buffer.concat(chunks).toString('latin1').split('\n')
    this.slots[into] = JSON.parse(head ?? '')
    this.service.effects.push(`image ${(this.slots[into] as System).version}`)
  }

  #connect(): HubConnection {
    if (this.system.deaf || !this.network) throw errorOf('hub.connect')
    const lost = new AbortController()
    const connection: Connection = { lost, early: [] }
    this.#connection = connection
    return {
      name: 'pi1',
      lost: lost.signal,
      readTwin: async () => structuredClone({ desired: this.desired, reported: this.reported }),
      report: async patch => {
        this.reports.push(patch)
        this.reported = mergePatch(this.reported, structuredClone(patch))
        this.onReported()
      },
      onDesired: listener => {
        connection.listener = listener
        for (const patch of connection.early.splice(0)) listener(patch)
      },
      serve: methods => {
        // A machine without power answers nobody.
        if (this.#power?.signal.aborted) return
        const [call] = this.#calls
        this.#calls = []
        if (call) methods(call.name, call.payload).then(answer => this.answers.push(answer))
        connection.methods = methods
      },
      close: async () => lost.abort(new HubError('closed')),
    }
  }
}

/** The step's record says what the rest of the attempt says. */
function assertTrue({ installedTo, result, steps }: Attempt): void {
  // Lists have rules of their own, see lists.test.ts.
  if (steps.length > 1 || steps.some(({ work }) => work)) return
  const applied = result?.resultCode === RESULT_CODE.applied
  const open = installedTo ? ['done'] : ['pending', 'running']
  const states = result ? (applied ? ['done', 'skipped'] : ['failed']) : open
  for (const step of steps) {
    // Of another agent's journal.
    if (step.handler !== BUNDLE_HANDLER) continue
    assert.ok(states.includes(step.state), `${step.state}, and ${JSON.stringify({ installedTo, result })}`)
    assert.equal(step.result !== undefined, result !== undefined)
    assert.ok(step.starts > 0 || !['running', 'done'].includes(step.state), 'begun, and not counted')
  }
}

/** Tests sign the same few manifests thousands of times, which would be most of what they take. */
const signatures = new Map<string, string>()

function signed(updateManifest: string): string {
  const found = signatures.get(updateManifest) ?? signManifest(updateManifest, authority)
  signatures.set(updateManifest, found)
  return found
}

export const bundleOf = (system: System): Buffer =>
  Buffer.concat([Buffer.from(`${JSON.stringify(system)}\n`), Buffer.alloc(200_000, 7)])

/** What an adapter throws there by its contract; undefined where it never does. */
export function errorOf(effect: string): Error | undefined {
  const [port = '', member = ''] = effect.replace(/-end$/, '').split('.')
  if (port === 'tried') return new AgentError('JOURNAL', `${member}: disturbed by the test`)
  if (port === 'disk') return Object.assign(new Error(`${member}: disturbed by the test`), { code: 'EIO' })
  return injected(port, member, 'disturbed by the test')
}

export const OPTIONS = {
  gates: NO_GATES,
  twin: {
    contract: deviceUpdateContract as TwinContract,
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
      look: async () => ({ ...IMAGES_ONLY, ownHandlers: ['contoso_work_1'] }),
      fetch: { rangeBytes: 65_536, timeout: 8 * 3600_000 },
    },
    connectionLifetime: 20 * 3600_000,
    spread: 0,
  },
  trial: { timeout: 600_000, retry: 10_000 },
  fetch: { rangeBytes: 65_536, timeout: 8 * 3600_000 },
  downgrade: { allowDowngrade: true },
  pulse: { limit: 600_000, allowed: {} },
  rebootPatience: 300_000,
  methods: {
    firmwareUpdate: { enabled: true, allowedHosts: ['content.test'], requireSha256: false },
    reboot: { enabled: true },
  },
  reporters: {
    local: localReporter(deviceUpdateContract.installed),
    deviceUpdate: deviceUpdateContract.reporter,
    firmwareUpdate: firmwareReporter(1000, { percent: 10, every: 30_000 }),
  },
}
