import { ConnectionStringIdentity } from '../../../src/adapters/identity/connection-string.ts'
import { IotHub } from '../../../src/adapters/iot-hub/iot-hub.ts'
import { noSteps } from '../../../src/adapters/steps/no-steps.ts'
import { systemClock } from '../../../src/adapters/system/clock.ts'
import type { Attempt } from '../../../src/domain/attempt.ts'
import { other, type SlotName } from '../../../src/domain/slot.ts'
import { NO_GATES } from '../../../src/gates/gates.ts'
import type { ContentPart } from '../../../src/ports/content.ts'
import { noLeftovers } from '../../../src/ports/leftovers.ts'
import type { Ports } from '../../../src/ports/ports.ts'
import { deviceUpdateContract } from '../../../src/sources/device-update/contract.ts'
import { firmwareReporter } from '../../../src/sources/firmware-update/report.ts'
import type { RootKey } from '../../../src/trust/root-keys.ts'
import { Agent } from '../../../src/workflow/agent.ts'
import type { AgentOptions } from '../../../src/workflow/options.ts'
import { calm } from '../../gates/calm.ts'
import { noWorkFolder } from '../../workflow/no-work.ts'

export interface ControlPlaneOptions {
  readonly connectionString: string
  /** PEM text. */
  readonly hubCa: string
  readonly rootKeys: readonly RootKey[]
  /** Milliseconds, see TwinOptions. */
  readonly spread?: number
  /** Called when a download begins, where the network would. */
  readonly onDownload?: () => void
}

/** A bundle of these devices is the version it installs, and nothing else. */
export const bundleOf = (version: string): Buffer => Buffer.from(`${version}\n`)

/**
 * The agent of one device, whole and real up to the device SDK, on a machine in memory: no image, no file, a reboot is a
 * new Agent on the other slot. Hundreds fit into one process.
 */
export class ControlPlane {
  readonly #options: ControlPlaneOptions
  readonly #boot = { booted: 'a' as SlotName, primary: 'a' as SlotName, trial: 'none' as 'none' | 'pending' | 'failed' }
  readonly #versions: Record<SlotName, string> = { a: '1.0.0', b: '' }
  readonly #stop = new AbortController()
  #attempt: Attempt | undefined
  #running: Promise<void> = Promise.resolve()

  constructor(options: ControlPlaneOptions) {
    this.#options = options
  }

  get version(): string {
    return this.#versions[this.#boot.booted]
  }

  start(): void {
    this.#running = this.#run()
  }

  /** Rejects with what the agent died of, if it did. */
  async stop(): Promise<void> {
    this.#stop.abort(new Stopped())
    await this.#running
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const boot = new AbortController()
      const either = AbortSignal.any([this.#stop.signal, boot.signal])
      const reboot = (): void => {
        this.#boot.booted = this.#boot.primary
        boot.abort(new Stopped())
      }
      await new Agent(this.#ports(reboot), this.#agentOptions()).run(either).catch(error => {
        if (!(error instanceof Stopped)) throw error
      })
    }
  }

  #ports(reboot: () => void): Ports {
    const { connectionString, hubCa } = this.#options
    const log = { debug() {}, info() {}, warn() {}, error() {} }
    const keepBooted = async (): Promise<void> => {
      Object.assign(this.#boot, { primary: this.#boot.booted, trial: 'none' })
    }
    return {
      conditions: calm,
      flight: { expect: async () => {}, note: async () => {}, read: async () => undefined },
      boot: {
        read: async () => ({ ...this.#boot, tries: 3 }),
        arm: async slot => void Object.assign(this.#boot, { primary: slot, trial: 'pending' }),
        start: async () => [],
        commit: keepBooted,
        fallBack: async () => void Object.assign(this.#boot, { primary: other(this.#boot.booted), trial: 'failed' }),
      },
      hub: new IotHub({
        ...{
          identity: new ConnectionStringIdentity(() => connectionString),
          modelId: deviceUpdateContract.modelId,
          productInfo: 'control-plane',
          ca: hubCa,
        },
        ...{
          protocol: 'mqtt',
          proxies: { httpProxy: undefined, httpsProxy: undefined, noProxy: [] },
          keepAliveSeconds: 60,
          tokenSeconds: 86_400,
          answerTimeout: 30_000,
        },
        time: { behind: () => 0, seen: async () => {}, explain: text => text },
      }),
      content: { get: async (url, range) => this.#part(url, range) },
      installer: { install: (bundle, into) => this.#install(bundle, into) },
      leftovers: noLeftovers,
      journal: {
        read: async () => (this.#attempt ? { is: 'attempt', attempt: this.#attempt } : { is: 'none' }),
        write: async attempt => {
          this.#attempt = structuredClone(attempt)
        },
      },
      workNotes: { read: async () => ({ boot: '', begun: {} }), write: async () => {} },
      keyStore: { read: async () => undefined, write: async () => {} },
      steps: noSteps,
      workFolder: noWorkFolder,
      host: {
        bootId: async () => '1',
        version: async () => this.version,
        reboot: async () => reboot(),
        failedUnits: async () => [],
        findings: async () => [],
        information: async () => ({ manufacturer: 'contoso', model: 'control-plane', swVersion: this.version }),
      },
      events: { tell() {}, saw() {} },
      clock: systemClock,
      log,
    }
  }

  /** The version stands at the end of the URL's path. */
  #part(url: string, { first }: { readonly first: number }): ContentPart {
    const version =
      new URL(url).pathname
        .split('/')
        .at(-1)
        ?.replace(/\.swu$/, '') ?? ''
    const file = bundleOf(version)
    if (first === 0) this.#options.onDownload?.()
    async function* body(): AsyncGenerator<Buffer> {
      yield file.subarray(first)
    }
    return { first, last: file.length - 1, total: file.length, etag: undefined, body: body() }
  }

  async #install(bundle: AsyncIterable<Buffer>, into: SlotName): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of bundle) chunks.push(chunk)
    this.#versions[into] = Buffer.concat(chunks).toString().trim()
  }

  #agentOptions(): AgentOptions {
    const device = { manufacturer: 'contoso', model: 'control-plane' }
    const fetch = { rangeBytes: 65_536, timeout: 3600_000 }
    return {
      gates: NO_GATES,
      twin: {
        contract: deviceUpdateContract,
        device: { ...device, additional: {}, compatPropertyNames: 'manufacturer,model', agentVersion: '0.0.0' },
        trust: {
          anchors: { builtIn: [...this.#options.rootKeys], configured: [] },
          compatibility: 'enforce',
          properties: device,
          fetch,
        },
        connectionLifetime: 20 * 3600_000,
        spread: this.#options.spread ?? 0,
      },
      fetch,
      downgrade: { allowDowngrade: true },
      pulse: { limit: 600_000, allowed: {} },
      trial: { timeout: 600_000, retry: 1000 },
      rebootPatience: 300_000,
      methods: {
        firmwareUpdate: { enabled: true, allowedHosts: ['*', 'localhost'], requireSha256: false },
        reboot: { enabled: true },
      },
      reporters: {
        deviceUpdate: deviceUpdateContract.reporter,
        firmwareUpdate: firmwareReporter(0, { percent: 10, every: 30_000 }),
      },
    }
  }
}

class Stopped extends Error {}
