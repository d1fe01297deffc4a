import { chmod, mkdir, truncate, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { RootKeyJwk } from '../authoring/keys.ts'
import { writeBootEnv } from './boot-env.ts'
import { type DeviceFolder, deviceFolder, makeFolders } from './device-folder.ts'
import { buildImage, SLOT_BYTES } from './image.ts'
import { HARDWARE, type RootTree } from './root-tree.ts'

/**
 * Settings for a device that takes the older direct methods as the tutorials of the time call them: without a hash. `hosts`: where
 * the bench's content server is found.
 */
export const olderMethods = (...hosts: readonly string[]): Readonly<Record<string, object>> => ({
  firmwareUpdate: { enabled: true, allowedHosts: hosts, requireSha256: false },
  reboot: { enabled: true },
})

/** Settings of a new device, as when a card is flashed and given its identity. */
export interface DeviceDescription {
  /** Absent: the device is provisioned, as `piAdu` says. */
  readonly connectionString?: string
  /** CA certificate of the hub. */
  readonly hubCaFile?: string
  /** CA certificate of the content server. */
  readonly contentCaFile?: string
  readonly rootKeys: readonly RootKeyJwk[]
  /** Certificate that signed bundles are verified with. */
  readonly bundleCertificate: string
  /** Content of slot a. Default: version 1.0.0. */
  readonly a?: RootTree
  /** Content of slot b. Default: nothing. */
  readonly b?: RootTree
  readonly slotBytes?: number
  /** Trial boots a new system gets. */
  readonly tries?: number
  readonly iotHubProtocol?: 'mqtt' | 'mqtt/ws'
  readonly manufacturer?: string
  readonly model?: string
  /**
   * Settings of its step service, over those of the workbench: scripts and the handlers of the device's folder `steps/handlers.d` run
   * as the user of the bench, and packages are off, for they would be this machine's. Absent: it has no step service.
   */
  readonly steps?: object
  /** Merged over the `piAdu` section of the configuration, one level deep. */
  readonly piAdu?: Readonly<Record<string, object | string>>
}

/** Makes the folder of a device that has just been flashed: slot a is committed. */
export async function createDevice(dir: string, description: DeviceDescription): Promise<DeviceFolder> {
  const folder = deviceFolder(dir)
  if (/\s/.test(folder.dir)) throw new Error(`fw_env.config cannot name a path with white space: ${folder.dir}`)
  const { a = { version: '1.0.0' }, b, slotBytes = SLOT_BYTES } = description
  await makeFolders(folder)
  await buildImage(folder.slots.a, a, slotBytes)
  if (b) await buildImage(folder.slots.b, b, slotBytes)
  else await writeFile(folder.slots.b, '').then(() => truncate(folder.slots.b, slotBytes))
  await writeBootEnv(folder.bootEnv, { primary: 'a', trial: 'none', tries: 0 })
  await writeFile(folder.fwEnvConfig, `${folder.bootEnv} 0x0 0x200\n`)
  await writeRebootProgram(folder)
  await writeFile(folder.config, `${JSON.stringify(configuration(folder, description), null, 2)}\n`, { mode: 0o600 })
  if (description.steps) await writeStepSettings(folder, description.steps, description.rootKeys)
  return folder
}

/** As an owner of the machine would, whatever the umask. */
async function writeStepSettings(folder: DeviceFolder, more: object, rootKeys: readonly RootKeyJwk[]): Promise<void> {
  const handlersFolder = join(dirname(folder.stepSettings), 'handlers.d')
  await mkdir(handlersFolder, { recursive: true })
  const scripts = { run: 'on', asRoot: ['microsoft/script:1', 'microsoft/swupdate:2'] }
  const settings = { rootKeys, packages: { run: 'off' }, scripts, handlersFolder, ...more }
  await writeFile(folder.stepSettings, `${JSON.stringify(settings, null, 2)}\n`)
  for (const each of [dirname(folder.stepSettings), handlersFolder]) await chmod(each, 0o755)
  await chmod(folder.stepSettings, 0o644)
}

/** The program that the agent calls to reboot; like the real one it returns before the machine goes down. */
export async function writeRebootProgram(folder: DeviceFolder): Promise<void> {
  await writeFile(folder.rebootProgram, `#!/bin/sh\n: > '${folder.rebootRequest}'\n`)
  await chmod(folder.rebootProgram, 0o755)
}

function configuration(folder: DeviceFolder, description: DeviceDescription): object {
  const { manufacturer = 'contoso', model = 'workbench', tries = 3, hubCaFile, contentCaFile, rootKeys } = description
  const section: Record<string, object | string> = {
    versionFile: `${folder.root}/etc/adu-version`,
    kernelCommandLine: folder.commandLine,
    controlSocket: folder.controlSocket,
    flightFolder: folder.flight,
    stateFile: `${folder.run}/agent.json`,
    // As on a card, which a file is not taken for.
    slots: { a: { device: folder.slots.a }, b: { device: folder.slots.b }, compareBeforeWrite: true },
    bootState: { fwEnvConfig: folder.fwEnvConfig, tries },
    swupdate: { certificate: description.bundleCertificate, hardware: HARDWARE },
    health: {
      timeoutSeconds: 20,
      retrySeconds: 1,
      failedUnits: false,
      checksFolder: `${folder.root}/etc/pi-adu/health.d`,
    },
    ...(hubCaFile !== undefined && { hub: { caFile: hubCaFile } }),
    content: { allowedHosts: ['*', 'localhost'], ...(contentCaFile !== undefined && { caFile: contentCaFile }) },
    diagnostics: { allowedHosts: ['localhost', '*.blob.core.windows.net'] },
    trust: { rootKeys },
    host: { rebootCommand: [folder.rebootProgram] },
    steps: { socket: folder.stepSocket, settings: folder.stepSettings },
  }
  for (const [name, value] of Object.entries(description.piAdu ?? {})) {
    const own = section[name]
    section[name] = typeof value === 'string' ? value : { ...(typeof own === 'object' && own), ...value }
  }
  return {
    schemaVersion: '1.1',
    aduShellTrustedUsers: ['adu'],
    iotHubProtocol: description.iotHubProtocol ?? 'mqtt',
    compatPropertyNames: 'manufacturer,model',
    manufacturer,
    model,
    dataFolder: folder.data,
    agents: [
      {
        name: 'main',
        runas: 'adu',
        ...(description.connectionString !== undefined && {
          connectionSource: { connectionType: 'string', connectionData: description.connectionString },
        }),
        manufacturer,
        model,
      },
    ],
    piAdu: section,
  }
}
