import { randomUUID } from 'node:crypto'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Offline, writeOffline } from '../../src/operator/offline/folder.ts'
import { cancelPatch, type DeploymentOrder, deployPatch, retryPatch } from './authoring/deploy.ts'
import { detach, referenceTo } from './authoring/detached.ts'
import { publish } from './authoring/files.ts'
import { openAuthority } from './authoring/keys.ts'
import {
  fileUrls,
  type ImportedUpdate,
  importUpdate,
  type ReferenceDescription,
  type StepDescription,
  type UpdateDescription,
} from './authoring/manifest.ts'
import { signManifest } from './authoring/sign.ts'
import { imageStep } from './authoring/steps.ts'
import { startContentServer } from './content/content-server.ts'
import { startHub } from './hub/hub.ts'
import type { JsonObject } from './hub/json.ts'
import { type Orchestrated, orchestrate } from './orchestrate.ts'
import { openBundleSigner } from './workbench/bundle-key.ts'
import { createDevice, type DeviceDescription } from './workbench/device.ts'
import { type BundleDescription, buildBundle } from './workbench/swu.ts'

export interface BenchOptions {
  /** Everything lives below it, and is found again by the next bench there. */
  readonly stateDir: string
  readonly contentPort?: number
  readonly log?: (line: string) => void
}

export type Bench = Awaited<ReturnType<typeof startBench>>

/** Where a deployment differs from the usual one. */
export interface DeployOptions {
  readonly workflowId?: string
  /** Changes the update manifest after it was signed. */
  readonly tamper?: (manifest: string) => string
  /** null: the deployment has none. */
  readonly signature?: string | null
  readonly fileUrls?: Readonly<Record<string, string>>
  readonly rootKeyPackageUrl?: string
}

/** Hub, content server, authoring and devices: all that a Device Update account and a desk full of boards would be. */
export async function startBench({ stateDir, contentPort, log }: BenchOptions) {
  await mkdir(stateDir, { recursive: true, mode: 0o700 })
  const hub = await startHub({ stateDir: join(stateDir, 'hub'), ...(log ? { log } : {}) })
  const contentDir = join(stateDir, 'content')
  await mkdir(contentDir, { recursive: true })
  const content = await startContentServer({
    dir: contentDir,
    tls: hub.certificates,
    ...(contentPort === undefined ? {} : { port: contentPort }),
  }).catch(async error => {
    await hub.stop()
    throw error
  })
  const keys = join(stateDir, 'keys')
  const [authority, signer] = await Promise.all([openAuthority(keys), openBundleSigner(keys)])
  const devicesDir = join(stateDir, 'devices')

  const desired = (id: string) => hub.getTwin(id).properties.desired as JsonObject
  const patch = (id: string, value: JsonObject) => hub.updateDesired(id, value)

  const newFolder = async (): Promise<string> => {
    const dir = join(stateDir, 'bundles', randomUUID())
    await mkdir(dir, { recursive: true })
    return dir
  }
  const importSteps = async (
    version: string,
    steps: readonly StepDescription[],
    more: Partial<UpdateDescription> = {},
  ): Promise<ImportedUpdate> => {
    const update = await importUpdate({
      provider: 'contoso',
      name: 'workbench',
      version,
      compatibility: [{ manufacturer: 'contoso', model: 'workbench' }],
      steps,
      ...more,
    })
    await publish(update.files, contentDir)
    return update
  }

  const orderOf = (update: ImportedUpdate, options: DeployOptions = {}): DeploymentOrder => {
    const { workflowId = randomUUID(), tamper = (text: string) => text, signature } = options
    return {
      workflowId,
      manifest: tamper(update.manifest),
      signature: signature ?? signManifest(update.manifest, authority),
      fileUrls: options.fileUrls ?? fileUrls(update.files, path => content.url(path)),
      ...(options.rootKeyPackageUrl === undefined ? {} : { rootKeyPackageUrl: options.rootKeyPackageUrl }),
    }
  }

  return {
    hub,
    content,
    contentDir,
    authority,
    signer,
    deviceDir: (id: string) => join(devicesDir, id),

    /** A device that was just flashed and given its identity; not switched on. */
    async addDevice(id: string, more: Partial<DeviceDescription> = {}): Promise<string> {
      const dir = join(devicesDir, id)
      await rm(dir, { recursive: true, force: true })
      if (hub.hasDevice(id)) hub.deleteDevice(id)
      hub.createDevice(id)
      await createDevice(dir, {
        connectionString: hub.deviceConnectionString(id, { webSocket: more.iotHubProtocol === 'mqtt/ws' }),
        hubCaFile: hub.caFile,
        contentCaFile: hub.caFile,
        rootKeys: authority.rootKeyJwks,
        bundleCertificate: signer.certificate,
        ...more,
      })
      return dir
    },

    /** A signed bundle in the state folder, not published. */
    async buildBundle(description: BundleDescription, name = `system-${description.tree.version}.swu`, by = signer) {
      const path = join(await newFolder(), name)
      await buildBundle(path, description, by)
      return path
    },

    /** A bundle's update: `importSteps` with one step, unless `more` has others. */
    importBundle: (path: string, version: string, more: Partial<UpdateDescription> = {}): Promise<ImportedUpdate> =>
      importSteps(version, [imageStep(path, version)], more),

    /** As the service does at import: measures, publishes, writes the manifest. */
    importSteps,

    /** A step of another update that refers to this one. */
    referenceTo: async (child: ImportedUpdate, text?: string): Promise<ReferenceDescription> =>
      referenceTo(child, await newFolder(), text),

    /** The same update with a detached manifest, published; `text` is what its file holds instead of the right thing. */
    async detachManifest(update: ImportedUpdate, text?: string): Promise<ImportedUpdate> {
      const detached = await detach(update, await newFolder(), text)
      await publish(detached.files, contentDir)
      return detached
    },

    /** Publishes a root key package and gives its address. */
    async publishRootKeyPackage(text: string, name = 'rootkeypackage-1.json'): Promise<string> {
      await mkdir(join(contentDir, 'rootkeypackages'), { recursive: true })
      await writeFile(join(contentDir, 'rootkeypackages', name), text)
      return content.url(`rootkeypackages/${name}`)
    },

    /** Writes the folder with which a device without a network is updated, as the operator's `offline create` does. */
    async writeOffline(update: ImportedUpdate, folder: string): Promise<Offline> {
      const { deviceUpdate } = deployPatch({}, orderOf(update))
      const ca = await readFile(hub.caFile, 'utf8')
      return writeOffline((deviceUpdate as JsonObject).service, folder, ca)
    },

    /** Returns the workflow id. */
    deploy(id: string, update: ImportedUpdate, options: DeployOptions = {}): string {
      const order = orderOf(update, options)
      const change = deployPatch(desired(id), order)
      if (options.signature === null) {
        // Merging would keep the one of the deployment before.
        const { service } = change.deviceUpdate as { service: { updateManifestSignature: string | null } }
        service.updateManifestSignature = null
      }
      patch(id, change)
      return order.workflowId
    },
    /** Orders the update phase by phase, as the service of 2021 does. `onOrder` is called with each action. */
    orchestrate(
      id: string,
      update: ImportedUpdate,
      options: Pick<DeployOptions, 'fileUrls'> = {},
      onOrder?: (action: number) => void,
    ): Orchestrated {
      const order = {
        updateId: JSON.stringify(update.updateId),
        manifest: update.manifest,
        signature: signManifest(update.manifest, authority),
        fileUrls: options.fileUrls ?? fileUrls(update.files, path => content.url(path)),
      }
      return orchestrate(hub, id, order, onOrder)
    },

    cancel: (id: string, workflowId?: string) => patch(id, cancelPatch(desired(id), workflowId)),
    retry: (id: string, retryTimestamp: string) => patch(id, retryPatch(desired(id), retryTimestamp)),

    async stop(): Promise<void> {
      await Promise.all([hub.stop(), content.close()])
    },
  }
}
