import { rename, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { AgentEvent, Mood } from '../../../src/view/event.ts'
import { clientOf } from '../authoring/contract-2021.ts'
import type { ImportedUpdate } from '../authoring/manifest.ts'
import { imageStep, scriptStep } from '../authoring/steps.ts'
import { type Bench, type DeployOptions, startBench } from '../bench.ts'
import type { BootEnv, SlotName } from '../workbench/boot-env.ts'
import { type BundleSigner, openBundleSigner } from '../workbench/bundle-key.ts'
import type { DemoDevice, DemoSystem, DeviceMeans } from './device.ts'
import { positionOf, type Scene } from './scene.ts'
import { type AgentReport, settle, watch } from './watch.ts'

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
  /** Further settings of the device, by section of `piAdu`. */
  readonly piAdu?: Readonly<Record<string, object | string>>
  /** The device takes lists of steps. */
  readonly steps?: boolean
  readonly signal: AbortSignal
}

export const ID = 'pi1'
const OLD = '1.0.0'

/** The update of the documentation of 2021. */
export const EXAMPLE_2021 = { provider: 'DuTest', name: 'DuTestUser', version: '2020.611.534.16', criteria: '1.0' }

const ORDERS: Readonly<Record<number, string>> = {
  0: 'download',
  1: 'install; the URLs are gone',
  2: 'apply',
  255: 'cancel',
}

/** For the light to show that nothing goes on any more. */
const MOOD_MS = 3000
const AT_REST: readonly (Mood | undefined)[] = ['online', 'updated', 'failed', 'fellBack']
const isAtRest = ({ mood }: Scene): boolean => AT_REST.includes(mood?.name)

/** The owner's own check of the new system: it takes a moment, as real ones do. */
const CHECK = '#!/bin/sh\n# Is the application up?\nsleep 1\n'

/** Hub, content server and one device, and what a person does with them. Everything on it is real but the board. */
export class Stage {
  readonly bench: Bench
  readonly #device: DemoDevice
  readonly #options: StageOptions
  readonly #seen: AgentEvent['event'][] = []
  readonly #reported = new Set<unknown>()
  readonly #endWatch: () => Promise<void>
  #on = false

  private constructor(bench: Bench, device: DemoDevice, options: StageOptions) {
    this.bench = bench
    this.#device = device
    this.#options = options
    this.#endWatch = watch(options.scene, bench, ID, device, event => {
      this.#seen.push(event.event)
      if (event.event === 'reported') this.#reported.add(event.workflowId)
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
        steps: options.steps === true,
        ...{ bench, id: ID, signal, dir: stateDir, system: systemOf({ version: OLD }) },
        piAdu: {
          health: { timeoutSeconds: healthSeconds, retrySeconds: 1 },
          ...(options.distrusting && { trust: stranger }),
          ...options.piAdu,
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

  /** A list: a script in the old system, a system, and a script in the new one. The scripts: what they do when they install. */
  async authorList(version: string, before: string, after: string): Promise<ImportedUpdate> {
    const image = await this.#device.buildBundle(systemOf({ version }))
    const [first, last] = [join(dirname(image), 'before.sh'), join(dirname(image), 'after.sh')]
    await writeFile(first, demoScript(before))
    await writeFile(last, demoScript(after))
    const steps = [
      scriptStep(first, { installedCriteria: `before-${version}` }),
      imageStep(image, version),
      scriptStep(last, { installedCriteria: `after-${version}` }),
    ]
    return this.bench.importSteps(version, steps, this.#device.update)
  }

  /** The same, with the manifest of the documentation of 2021: only size and hash are those of our bundle. */
  async author2021(): Promise<ImportedUpdate> {
    const { criteria, ...names } = EXAMPLE_2021
    const path = await this.#device.buildBundle(systemOf({ version: criteria }))
    const image = join(dirname(path), 'image.swu')
    await rename(path, image)
    return this.bench.importBundle(image, names.version, {
      ...names,
      manifestVersion: '1',
      steps: [{ handler: 'microsoft/swupdate:1', files: [image], handlerProperties: { installedCriteria: criteria } }],
      createdDateTime: '2020-06-12T00:38:13.9350278Z',
    })
  }

  /** A signer that no device trusts. */
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
    const file = update.files.find(({ fileName }) => fileName.endsWith('.swu'))
    this.bench.content.faults['*'] = { bytesPerSecond: file!.sizeInBytes / downloadSeconds }
    scene.enter('order')
    const { version } = update.updateId
    const names = update.files.map(({ fileName }) => fileName).join(', ')
    scene.tell('hub', `deploys ${names} (system ${version}, ${file!.sizeInBytes} bytes) to ${ID}`)
    return this.bench.deploy(ID, update, { fileUrls: this.#device.fileUrls(update), ...options })
  }

  /** Orders the update phase by phase, as the service of 2021. Returns how it ended, and the states that the twin showed. */
  async orchestrate(update: ImportedUpdate): Promise<{ readonly end: string; readonly states: readonly number[] }> {
    const { scene, downloadSeconds } = this.#options
    const [file] = update.files
    this.bench.content.faults['*'] = { bytesPerSecond: file!.sizeInBytes / downloadSeconds }
    scene.enter('order')
    const states: number[] = []
    const off = this.bench.hub.onReported((_id, _patch, reported) => {
      const { state } = clientOf(reported)
      if (state !== undefined && state !== states.at(-1)) states.push(state)
    })
    const fileUrls = this.#device.fileUrls(update)
    const running = this.bench.orchestrate(ID, update, { fileUrls }, action =>
      scene.tell('hub', `orders action ${action}: ${ORDERS[action]}`),
    )
    try {
      await this.until(() => running.cloud.end !== undefined, 'the end of the update')
      await this.until(() => this.count('reported') > 0, 'the device to know that it was heard')
      return { end: running.cloud.end ?? '', states }
    } finally {
      running.stop()
      off()
    }
  }

  /** Calls the method `firmwareUpdate` as an old tutorial does: with nothing but the URL. Returns the answer. */
  async callFirmwareUpdate(update: ImportedUpdate): Promise<unknown> {
    const { scene, downloadSeconds } = this.#options
    const [file] = update.files
    const uri = this.#device.fileUrls(update)[file!.fileId]
    if (uri === undefined) throw new Error(`there is no URL for ${file!.fileName}`)
    this.bench.content.faults['*'] = { bytesPerSecond: file!.sizeInBytes / downloadSeconds }
    scene.enter('order')
    scene.tell('hub', `calls firmwareUpdate { fwPackageUri: ${uri} } on ${ID}`)
    const { status, payload } = await this.bench.hub.invokeMethod(ID, 'firmwareUpdate', { fwPackageUri: uri })
    scene.tell('hub', `answer: ${status} ${JSON.stringify(payload)}`)
    return payload
  }

  /** The stages that `iothubDM.firmwareUpdate` shows, in their order, until the update has ended. */
  async firmwareStages(): Promise<readonly string[]> {
    const stages: string[] = []
    const off = this.bench.hub.onReported((_id, _patch, { iothubDM }) => {
      const { status } = ((iothubDM as { firmwareUpdate?: { status?: string } })?.firmwareUpdate ?? {}) as {
        status?: string
      }
      if (status === undefined || status === stages.at(-1)) return
      stages.push(status)
      this.#options.scene.tell('twin', `iothubDM.firmwareUpdate: ${status}`)
    })
    try {
      const isOver = () => /Complete$|Failed$|rolledBack/.test((stages.at(-1) ?? '').replace('downloadComplete', ''))
      await this.until(isOver, 'the end of the update in the twin')
      await this.until(() => this.count('reported') > 0, 'the device to know that it was heard')
    } finally {
      off()
    }
    return stages
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

  /** Bytes of the bundle that the device has by now, as a part of 1. */
  get fetched(): number {
    const { transfer } = this.#options.scene
    return transfer ? positionOf(transfer) / transfer.size : 0
  }

  /** How often the agent has told this. */
  count(event: AgentEvent['event']): number {
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

  /** Ends the watching with a last picture of the current state, and returns that state. */
  async last(): Promise<DeviceFacts> {
    const { scene } = this.#options
    // The light is the last thing that the agent changes.
    for (let waited = 0; this.#on && !isAtRest(scene) && waited < MOOD_MS; waited += 40) await this.pause(40)
    await this.#endWatch()
    const facts = await this.facts()
    settle(scene, facts, this.bench.hub.getTwin(ID).properties.reported)
    return facts
  }

  /** What the device really is, looked up from outside: nothing of it is the agent's word. */
  async facts(): Promise<DeviceFacts> {
    const { slot, version } = this.#on ? await this.#device.running() : { slot: undefined, version: '' }
    return {
      alive: this.#on && this.bench.hub.isConnected(ID),
      booted: slot,
      version,
      onDisk: slot && (await this.#device.readVersion(slot)),
      versions: { a: await this.#device.readVersion('a'), b: await this.#device.readVersion('b') },
      boot: await this.#device.readBootState(),
      fetched: Object.values(this.bench.content.stats).reduce((sum, { bytesSent }) => sum + bytesSent, 0),
      written: await this.#device.written(),
    }
  }
}

/** A script by the reference's contract that is never installed already. */
const demoScript = (install: string): string => `#!/bin/sh
while [ $# -gt 0 ]; do
  case $1 in --action-*) action=\${1#--action-} ;; --result-file) result=$2 ;; esac
  shift
done
say() { echo "{\\"resultCode\\":$1,\\"extendedResultCode\\":0,\\"resultDetails\\":\\"$2\\"}" > "$result"; }
case $action in
  is-installed) say 901 ;;
  download) say 500 ;;
  install) ${install}
    say 600 ;;
  apply) say 700 ;;
  cancel) say 800 ;;
esac
`

export interface DeviceFacts {
  readonly alive: boolean
  readonly booted: string | undefined
  /** `/etc/adu-version` of the system that was started, and of the slot it was started from. */
  readonly version: string
  readonly onDisk: string | undefined
  readonly versions: Readonly<Record<SlotName, string | undefined>>
  readonly boot: BootEnv | undefined
  readonly fetched: number
  readonly written: { readonly where: string; readonly bytes: number }
}

const systemOf = (system: Pick<DemoSystem, 'version'> & Partial<DemoSystem>): DemoSystem => ({
  healthChecks: { '10-application': CHECK },
  ...system,
})
