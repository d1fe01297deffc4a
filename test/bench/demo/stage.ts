import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ImportedUpdate } from '../authoring/manifest.ts'
import { type Bench, type DeployOptions, startBench } from '../bench.ts'
import type { BundleSigner } from '../workbench/bundle-key.ts'
import { type PoweredDevice, startDevice } from '../workbench/control.ts'
import { deviceFolder, deviceStatus } from '../workbench/device-folder.ts'
import type { RootTree } from '../workbench/root-tree.ts'
import type { Scene } from './scene.ts'
import { type AgentReport, watch } from './watch.ts'

export interface StageOptions {
  readonly stateDir: string
  readonly scene: Scene
  /** Size of an image, in bytes. */
  readonly imageBytes: number
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
/** Longer than any part of a demo takes on a slow machine. */
const PATIENCE_MS = 120_000

/** The owner's own check of the new system: it takes a moment, as real ones do. */
const CHECK = '#!/bin/sh\n# Is the application up?\nsleep 1\n'

/** Hub, content server and one device, and what a person does with them. Everything on it is real but the board. */
export class Stage {
  readonly bench: Bench
  readonly dir: string
  readonly #options: StageOptions
  readonly #seen: string[] = []
  readonly #reported = new Set<unknown>()
  readonly #endWatch: () => Promise<void>
  #device: PoweredDevice | undefined

  private constructor(bench: Bench, options: StageOptions) {
    this.bench = bench
    this.dir = bench.deviceDir(ID)
    this.#options = options
    this.#endWatch = watch(options.scene, bench, ID, (event, { workflowId }) => {
      this.#seen.push(event)
      if (event === 'reported') this.#reported.add(workflowId)
    })
  }

  /** Runs `work` on a new stage, and leaves nothing of it running. */
  static async with(options: StageOptions, work: (stage: Stage) => Promise<void>): Promise<void> {
    const { stateDir, imageBytes, healthSeconds, scene, signal } = options
    scene.enter('prepare')
    const bench = await startBench({ stateDir })
    try {
      signal.throwIfAborted()
      const stranger = options.distrusting && {
        rootKeys: [{ ...bench.authority.rootKeyJwks[0]!, kid: 'SOMEBODY.ELSE' }],
      }
      await bench.addDevice(ID, {
        a: systemOf(OLD, imageBytes),
        slotBytes: imageBytes,
        piAdu: { health: { timeoutSeconds: healthSeconds, retrySeconds: 1 } },
        ...stranger,
      })
      const stage = new Stage(bench, options)
      try {
        // The operator's shelf: what the device has, and what comes next.
        await stage.author({ version: OLD })
        await work(stage)
      } finally {
        await stage.#device?.powerCut()
        await stage.#endWatch()
      }
    } finally {
      await bench.stop()
    }
  }

  /** Builds and signs a system, imports it as the service does. */
  async author(tree: Partial<RootTree> & { version: string }, by?: BundleSigner): Promise<ImportedUpdate> {
    const { imageBytes } = this.#options
    const description = { tree: { ...systemOf(tree.version, imageBytes), ...tree }, imageBytes }
    const path = await this.bench.buildBundle(description, undefined, by)
    this.#options.signal.throwIfAborted()
    return this.bench.importBundle(path, tree.version)
  }

  /** Returns when the device is connected. */
  async powerOn(): Promise<void> {
    const { scene } = this.#options
    this.#device = await startDevice(this.dir)
    scene.power = true
    await this.until(() => this.bench.hub.isConnected(ID), 'the device to connect')
  }

  async powerCut(): Promise<void> {
    const { scene } = this.#options
    await this.#device?.powerCut()
    this.#device = undefined
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
    return this.bench.deploy(ID, update, options)
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
    for (const limit = Date.now() + PATIENCE_MS; !check(); await this.pause(40)) {
      if (Date.now() > limit) throw new Error(`waited ${PATIENCE_MS / 1000} s in vain for ${what}`)
    }
  }

  pause(milliseconds: number): Promise<void> {
    return sleep(milliseconds, undefined, { signal: this.#options.signal })
  }

  /** What the device really is, looked up from outside: nothing of it is the agent's word. */
  async facts(): Promise<DeviceFacts> {
    const { boot, booted, versions } = await deviceStatus(this.dir)
    const running = await readFile(join(deviceFolder(this.dir).root, 'etc/adu-version'), 'utf8').catch(() => '')
    return {
      alive: this.#device !== undefined && this.bench.hub.isConnected(ID),
      booted,
      version: running.trim(),
      onDisk: booted && versions[booted],
      boot,
      fetched: Object.values(this.bench.content.stats).reduce((sum, { bytesSent }) => sum + bytesSent, 0),
      // The other slot is a file with holes: only what was written takes room.
      written: (await stat(deviceFolder(this.dir).slots.b)).blocks * 512,
    }
  }
}

export interface DeviceFacts {
  readonly alive: boolean
  readonly booted: string | undefined
  /** `/etc/adu-version` of the system that was started, and of the slot it was started from. */
  readonly version: string
  readonly onDisk: string | undefined
  readonly boot: Awaited<ReturnType<typeof deviceStatus>>['boot']
  readonly fetched: number
  readonly written: number
}

function systemOf(version: string, imageBytes: number): RootTree {
  return { version, payloadBytes: Math.floor(imageBytes * 0.8), healthChecks: { '10-application': CHECK } }
}
