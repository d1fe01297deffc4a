import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ImportedUpdate } from '../authoring/manifest.ts'
import { type Bench, type DeployOptions, startBench } from '../bench.ts'
import type { BootEnv } from '../workbench/boot-env.ts'
import { type BundleSigner, openBundleSigner } from '../workbench/bundle-key.ts'
import type { DemoDevice, DemoSystem, DeviceMeans } from './device.ts'
import type { Scene } from './scene.ts'
import { type AgentReport, watch } from './watch.ts'

export interface StageOptions {
  readonly stateDir: string
  readonly scene: Scene
  readonly makeDevice: (means: DeviceMeans) => Promise<DemoDevice>
  /** How long the download of one bundle takes at least: so long that a person sees it. */
  readonly downloadSeconds: number
  /** How long a new system has to become healthy. */
  readonly healthSeconds: number
  /** The device trusts another root key than the hub's authors have: nothing it is sent can succeed. */
  readonly distrusting: boolean
  readonly signal: AbortSignal
}

export const ID = 'pi1'
const OLD = '1.0.0'

/** The owner's own check of the new system: it takes a moment, as real ones do. */
const CHECK = '#!/bin/sh\n# Is the application up?\nsleep 1\n'

/** Hub, content server and one device, and what a person does with them. Everything on it is real but the board. */
export class Stage {
  readonly bench: Bench
  readonly #device: DemoDevice
  readonly #options: StageOptions
  readonly #seen: string[] = []
  readonly #reported = new Set<unknown>()
  readonly #endWatch: () => Promise<void>
  #on = false

  private constructor(bench: Bench, device: DemoDevice, options: StageOptions) {
    this.bench = bench
    this.#device = device
    this.#options = options
    this.#endWatch = watch(options.scene, bench, ID, device, (event, { workflowId }) => {
      this.#seen.push(event)
      if (event === 'reported') this.#reported.add(workflowId)
    })
  }

  /** Runs `work` on a new stage, and leaves nothing of it running. */
  static async with(options: StageOptions, work: (stage: Stage) => Promise<void>): Promise<void> {
    const { stateDir, healthSeconds, scene, signal } = options
    scene.enter('prepare')
    scene.expect(['start'])
    const bench = await startBench({ stateDir })
    try {
      signal.throwIfAborted()
      const stranger = { rootKeys: [{ ...bench.authority.rootKeyJwks[0]!, kid: 'SOMEBODY.ELSE' }] }
      const device = await options.makeDevice({
        ...{ bench, id: ID, signal, dir: stateDir, system: systemOf({ version: OLD }) },
        piAdu: {
          health: { timeoutSeconds: healthSeconds, retrySeconds: 1 },
          ...(options.distrusting && { trust: stranger }),
        },
        note: what => scene.note(what),
      })
      const stage = new Stage(bench, device, options)
      try {
        // The operator's shelf: what the device has, and what comes next.
        await stage.author({ version: OLD })
        await work(stage)
      } finally {
        await device.powerCut()
        await stage.#endWatch()
      }
    } finally {
      await bench.stop()
    }
  }

  /** Builds and signs a system, imports it as the service does. */
  async author(system: Pick<DemoSystem, 'version'> & Partial<DemoSystem>, by?: BundleSigner): Promise<ImportedUpdate> {
    const path = await this.#device.buildBundle(systemOf(system), by)
    this.#options.signal.throwIfAborted()
    return this.bench.importBundle(path, system.version, this.#device.update)
  }

  /** Somebody who signs bundles as well as the owner does, and whom no device knows. */
  stranger(): Promise<BundleSigner> {
    return openBundleSigner(join(this.#options.stateDir, 'keys'), 'stranger')
  }

  /** Returns when the device is connected. */
  async powerOn(): Promise<void> {
    const { scene } = this.#options
    await this.#device.powerOn()
    this.#on = true
    scene.power = true
    await this.until(() => this.bench.hub.isConnected(ID), 'the device to connect')
  }

  async powerCut(): Promise<void> {
    const { scene } = this.#options
    await this.#device.powerCut()
    this.#on = false
    scene.power = false
    scene.mood = undefined
    if (scene.transfer) scene.transfer.ended ??= Date.now()
    scene.leave('failed', 'cut off')
    scene.enter('cut')
    await this.pause(1500)
  }

  /** Returns the workflow id. */
  deploy(update: ImportedUpdate, options: DeployOptions = {}): string {
    const { scene, downloadSeconds } = this.#options
    const [file] = update.files
    this.bench.content.faults['*'] = { bytesPerSecond: file!.sizeInBytes / downloadSeconds }
    scene.enter('order')
    const { version } = update.updateId
    scene.tell('hub', `deploys ${file!.fileName} (system ${version}, ${file!.sizeInBytes} bytes) to ${ID}`)
    return this.bench.deploy(ID, update, { fileUrls: this.#device.fileUrls(update), ...options })
  }

  /** Waits until the twin says how the deployment ended, and the device knows that it does. */
  async ended(workflowId: string): Promise<AgentReport> {
    const final = (): AgentReport | undefined => {
      const { agent } = (this.bench.hub.getTwin(ID).properties.reported.deviceUpdate ?? {}) as { agent?: AgentReport }
      return agent?.workflow?.id === workflowId && agent.state !== 6 ? agent : undefined
    }
    await this.until(() => final() !== undefined, 'the report of how it ended')
    await this.until(() => this.#reported.has(workflowId), 'the device to know that it was heard')
    return final()!
  }

  /** Bytes of the bundle that the device has fetched by now, as a part of 1. */
  get fetched(): number {
    const { transfer } = this.#options.scene
    return transfer ? transfer.fetched / transfer.size : 0
  }

  /** How often the agent's log has said so. */
  count(event: string): number {
    return this.#seen.filter(seen => seen === event).length
  }

  async until(check: () => boolean, what: string): Promise<void> {
    const { patienceMs } = this.#device
    for (const limit = Date.now() + patienceMs; !check(); await this.pause(40)) {
      if (Date.now() > limit) throw new Error(`waited ${patienceMs / 1000} s in vain for ${what}`)
    }
  }

  pause(milliseconds: number): Promise<void> {
    return sleep(milliseconds, undefined, { signal: this.#options.signal })
  }

  /** What the device really is, looked up from outside: nothing of it is the agent's word. */
  async facts(): Promise<DeviceFacts> {
    const { slot, version } = this.#on ? await this.#device.running() : { slot: undefined, version: '' }
    return {
      alive: this.#on && this.bench.hub.isConnected(ID),
      booted: slot,
      version,
      onDisk: slot && (await this.#device.readVersion(slot)),
      boot: await this.#device.readBootState(),
      fetched: Object.values(this.bench.content.stats).reduce((sum, { bytesSent }) => sum + bytesSent, 0),
      written: await this.#device.written(),
    }
  }
}

export interface DeviceFacts {
  readonly alive: boolean
  readonly booted: string | undefined
  /** `/etc/adu-version` of the system that was started, and of the slot it was started from. */
  readonly version: string
  readonly onDisk: string | undefined
  readonly boot: BootEnv | undefined
  readonly fetched: number
  readonly written: { readonly where: string; readonly bytes: number }
}

const systemOf = (system: Pick<DemoSystem, 'version'> & Partial<DemoSystem>): DemoSystem => ({
  healthChecks: { '10-application': CHECK },
  ...system,
})
