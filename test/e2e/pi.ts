import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFile, rm, writeFile } from 'node:fs/promises'
import type { ImportedUpdate } from '../bench/authoring/manifest.ts'
import type { Bench, DeployOptions } from '../bench/bench.ts'
import type { DeviceStats } from '../bench/hub/hub.ts'
import type { JsonObject } from '../bench/hub/json.ts'
import { readBootEnv, type SlotName } from '../bench/workbench/boot-env.ts'
import { type PoweredDevice, type PowerOnOptions, startDevice } from '../bench/workbench/control.ts'
import type { DeviceDescription } from '../bench/workbench/device.ts'
import { type DeviceFolder, deviceFolder, deviceStatus } from '../bench/workbench/device-folder.ts'
import { AgentEvents } from './agent-events.ts'
import { AgentLog } from './agent-log.ts'

export interface PiOptions extends Partial<DeviceDescription> {
  readonly power?: PowerOnOptions
  /** false: the test switches it on itself. */
  readonly on?: boolean
  /** Changes the configuration file before the first start. */
  readonly configure?: (config: Record<string, unknown>) => void
}

/** `deviceUpdate.agent` as reported (PROTOCOL.md, "Final report"). */
export interface AgentReport {
  readonly state: number
  readonly workflow: { readonly action: number; readonly id: string; readonly retryTimestamp?: string }
  readonly installedUpdateId?: string
  readonly lastInstallResult: {
    readonly resultCode: number
    readonly extendedResultCodes: string
    readonly resultDetails: string | null
    readonly stepResults: Readonly<Record<string, JsonObject>> | null
  }
}

/** What a final report is expected to say. */
export interface Wanted {
  readonly action?: number
  readonly retryTimestamp?: string
  readonly resultCode: number
  /** The first extended result code. */
  readonly code?: string
  readonly details?: RegExp
  /** What the device runs afterwards. */
  readonly version: string
}

/** In milliseconds. */
const PATIENCE = 60_000

/** A device under test: its power, what it told the hub, what lies in its folder. */
export class Pi {
  readonly id: string
  readonly folder: DeviceFolder
  /** What its agents tell over the control socket. */
  readonly events: AgentEvents
  /** For tests of the log itself. */
  readonly log: AgentLog
  /** Every report with a state, oldest first. */
  readonly reports: AgentReport[] = []
  readonly #bench: Bench
  readonly #powerOptions: PowerOnOptions
  readonly #stopListening: () => void
  #power: PoweredDevice | undefined
  /** The system that runs, and what its slot held when it was last seen at rest. */
  #witness: { readonly slot: SlotName; readonly sha256: string } | undefined

  private constructor(bench: Bench, id: string, options: PiOptions) {
    this.#bench = bench
    this.id = id
    this.folder = deviceFolder(bench.deviceDir(id))
    this.events = new AgentEvents(this.folder.controlSocket)
    this.log = new AgentLog(this.folder.agentLog)
    this.#powerOptions = options.power ?? {}
    this.#stopListening = bench.hub.onReported((deviceId, patch) => {
      const agent = agentOf(patch)
      if (deviceId === id && agent?.state !== undefined) this.reports.push(agent)
    })
  }

  static async make(bench: Bench, id: string, options: PiOptions): Promise<Pi> {
    const { power: _, on: __, configure, ...description } = options
    await bench.addDevice(id, description)
    const pi = new Pi(bench, id, options)
    if (configure) await pi.configure(configure)
    await writeFile(pi.folder.agentLog, '')
    return pi
  }

  /** Changes the configuration file; the agent reads it at its next start. */
  async configure(change: (config: Record<string, unknown>) => void): Promise<void> {
    const config = JSON.parse(await readFile(this.folder.config, 'utf8'))
    change(config)
    await writeFile(this.folder.config, JSON.stringify(config))
  }

  async remove(): Promise<void> {
    this.#stopListening()
    await this.events.stop()
    await this.#power?.powerOff()
    await rm(this.folder.dir, { recursive: true, force: true })
  }

  // --- power

  get power(): PoweredDevice {
    assert.ok(this.#power, `${this.id} is switched on`)
    return this.#power
  }

  /** Booting when this resolves. */
  async switchOn(more: PowerOnOptions = {}): Promise<void> {
    await this.#bearWitness()
    this.#power = await startDevice(this.folder.dir, { ...this.#powerOptions, ...more })
  }

  async powerCut(): Promise<void> {
    await this.power.powerCut()
  }

  // --- hub

  get reported(): JsonObject {
    return this.#bench.hub.getTwin(this.id).properties.reported
  }

  get agent(): AgentReport | undefined {
    return agentOf(this.reported)
  }

  stats(): DeviceStats {
    return this.#bench.hub.stats().get(this.id)!
  }

  async connected(): Promise<void> {
    await this.#bench.hub.waitForConnected(this.id, { timeoutMs: PATIENCE })
  }

  /** Has connected, has read the twin and has said who it is. */
  async ready(): Promise<void> {
    await this.waitFor(() => this.agent !== undefined && this.#bench.hub.isConnected(this.id), 'the startup report')
  }

  /** Asked now and after each event of the hub. */
  waitFor<T>(check: () => T, what: string): Promise<T> {
    return this.#bench.hub.waitFor(check, { timeoutMs: PATIENCE, what: `${what} of ${this.id}` })
  }

  deploy(update: ImportedUpdate, options: DeployOptions = {}): string {
    return this.#bench.deploy(this.id, update, options)
  }

  /** A desired `deviceUpdate.service` as it stands. */
  order(service: JsonObject): number {
    return this.#bench.hub.updateDesired(this.id, { deviceUpdate: { __t: 'c', service } })
  }

  /** The reports that ended an order, oldest first. */
  finals(id: string, { action = 3, retryTimestamp }: Partial<Wanted> = {}): AgentReport[] {
    return this.reports.filter(
      ({ state, workflow }) =>
        state !== 6 &&
        workflow.id === id &&
        workflow.action === action &&
        (retryTimestamp === undefined || workflow.retryTimestamp === retryTimestamp),
    )
  }

  /** Waits for the end of an order, and checks what must hold after each: no trial, the running slot as it was. */
  async settled(id: string, which: Partial<Wanted> = {}): Promise<AgentReport> {
    await this.waitFor(() => this.finals(id, which).length > 0, `the final report of order ${id}`)
    const report = this.finals(id, which).at(-1)!
    const boot = await readBootEnv(this.folder.bootEnv)
    assert.ok(boot && boot.trial !== 'pending', `no trial is pending after the final report: ${JSON.stringify(boot)}`)
    await this.#askWitness()
    return report
  }

  /** The order's final report says what is wanted, and the device runs what it should. */
  async expectResult(id: string, wanted: Wanted): Promise<AgentReport> {
    const report = await this.settled(id, wanted)
    const { resultCode, extendedResultCodes, resultDetails } = report.lastInstallResult
    assert.equal(resultCode, wanted.resultCode, resultDetails ?? '')
    assert.equal(extendedResultCodes, wanted.code ?? '00000000', resultDetails ?? '')
    if (wanted.details) assert.match(resultDetails ?? '', wanted.details)
    if (wanted.code) assert.ok(resultDetails?.includes(wanted.code), 'the details repeat the code')
    assert.equal(report.state, resultCode === 0 ? 255 : 0)
    assert.equal(report.installedUpdateId !== undefined, resultCode === 700)
    assert.equal(await this.version(), wanted.version)
    return report
  }

  // --- what lies in the folder

  /** Of the system that was started last. */
  async version(): Promise<string | undefined> {
    const { booted, versions } = await deviceStatus(this.folder.dir)
    return booted && versions[booted]
  }

  /** For a person who has to find out why a test failed. */
  async story(): Promise<string> {
    const tail = async (file: string, lines: number) =>
      (await readFile(file, 'utf8').catch(() => '')).trim().split('\n').slice(-lines).join('\n')
    return [
      `agent.log:\n${await tail(this.folder.agentLog, 60)}`,
      `boot.log:\n${await tail(this.folder.bootLog, 20)}`,
      `journal:\n${await tail(`${this.folder.data}/journal.json`, 2)}`,
      `boot state: ${JSON.stringify(await readBootEnv(this.folder.bootEnv))}`,
      `last report: ${JSON.stringify(this.agent)}`,
    ].join('\n')
  }

  async #bearWitness(): Promise<void> {
    const boot = await readBootEnv(this.folder.bootEnv)
    if (!boot || boot.trial === 'pending') return
    this.#witness = { slot: boot.primary, sha256: await sha256Of(this.folder.slots[boot.primary]) }
  }

  /** The slot that ran when the order came must not have been written. */
  async #askWitness(): Promise<void> {
    const { slot, sha256 } = this.#witness!
    assert.equal(await sha256Of(this.folder.slots[slot]), sha256, `slot ${slot} was booted and has not been written`)
    await this.#bearWitness()
  }
}

const agentOf = (reported: JsonObject): AgentReport | undefined =>
  (reported as { deviceUpdate?: { agent?: AgentReport } }).deviceUpdate?.agent

export const sha256Of = async (file: string): Promise<string> =>
  createHash('sha256')
    .update(await readFile(file))
    .digest('hex')
