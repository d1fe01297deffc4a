import { randomUUID } from 'node:crypto'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { cancelPatch, deployPatch, retryPatch } from './authoring/deploy.ts'
import { detach } from './authoring/detached.ts'
import { publish } from './authoring/files.ts'
import { openAuthority } from './authoring/keys.ts'
import { fileUrls, type ImportedUpdate, importUpdate, type UpdateDescription } from './authoring/manifest.ts'
import { signManifest } from './authoring/sign.ts'
import { startContentServer } from './content/content-server.ts'
import { startHub } from './hub/hub.ts'
import type { JsonObject } from './hub/json.ts'
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
  /** Of the update manifest that is sent, after it was signed. */
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
        connectionString: hub.deviceConnectionString(id),
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
      const dir = join(stateDir, 'bundles', randomUUID())
      await mkdir(dir, { recursive: true })
      const path = join(dir, name)
      await buildBundle(path, description, by)
      return path
    },

    /** As the service does at import: measures, publishes, writes the manifest. */
    async importBundle(path: string, version: string, more: Partial<UpdateDescription> = {}): Promise<ImportedUpdate> {
      const name = path.slice(path.lastIndexOf('/') + 1)
      const update = await importUpdate({
        provider: 'contoso',
        name: 'workbench',
        version,
        compatibility: [{ manufacturer: 'contoso', model: 'workbench' }],
        steps: [
          {
            handler: 'microsoft/swupdate:2',
            files: [path],
            handlerProperties: { installedCriteria: version, swuFileName: name },
          },
        ],
        ...more,
      })
      await publish(update.files, contentDir)
      return update
    },

    /** The same update with a detached manifest, published; `text` is what its file holds instead of the right thing. */
    async detachManifest(update: ImportedUpdate, text?: string): Promise<ImportedUpdate> {
      const dir = join(stateDir, 'bundles', randomUUID())
      await mkdir(dir, { recursive: true })
      const detached = await detach(update, dir, text)
      await publish(detached.files, contentDir)
      return detached
    },

    /** Publishes a root key package and gives its address. */
    async publishRootKeyPackage(text: string, name = 'rootkeypackage-1.json'): Promise<string> {
      await mkdir(join(contentDir, 'rootkeypackages'), { recursive: true })
      await writeFile(join(contentDir, 'rootkeypackages', name), text)
      return content.url(`rootkeypackages/${name}`)
    },

    /** Returns the workflow id. */
    deploy(id: string, update: ImportedUpdate, options: DeployOptions = {}): string {
      const { workflowId = randomUUID(), tamper = (text: string) => text, signature } = options
      const order = {
        workflowId,
        manifest: tamper(update.manifest),
        signature: signature ?? signManifest(update.manifest, authority),
        fileUrls: options.fileUrls ?? fileUrls(update.files, path => content.url(path)),
        ...(options.rootKeyPackageUrl === undefined ? {} : { rootKeyPackageUrl: options.rootKeyPackageUrl }),
      }
      const change = deployPatch(desired(id), order)
      if (signature === null) {
        // Merging would keep the one of the deployment before.
        const { service } = change.deviceUpdate as { service: { updateManifestSignature: string | null } }
        service.updateManifestSignature = null
      }
      patch(id, change)
      return workflowId
    },
    cancel: (id: string, workflowId?: string) => patch(id, cancelPatch(desired(id), workflowId)),
    retry: (id: string, retryTimestamp: string) => patch(id, retryPatch(desired(id), retryTimestamp)),

    async stop(): Promise<void> {
      await Promise.all([hub.stop(), content.close()])
    },
  }
}
