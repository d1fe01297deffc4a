import { chmod, truncate, writeFile } from 'node:fs/promises'
import type { RootKeyJwk } from '../authoring/keys.ts'
import { writeBootEnv } from './boot-env.ts'
import { type DeviceFolder, deviceFolder, makeFolders } from './device-folder.ts'
import { buildImage, SLOT_BYTES } from './image.ts'
import { HARDWARE, type RootTree } from './root-tree.ts'

/** What a new device is told, as when a card is flashed and given its identity. */
export interface DeviceDescription {
  readonly connectionString: string
  /** CA certificate of the hub. */
  readonly hubCaFile?: string
  /** CA certificate of the content server. */
  readonly contentCaFile?: string
  readonly rootKeys: readonly RootKeyJwk[]
  /** Certificate that signed bundles are verified with. */
  readonly bundleCertificate: string
  /** What is in slot a; version 1.0.0 unless told. */
  readonly a?: RootTree
  /** What is in slot b; nothing unless told. */
  readonly b?: RootTree
  readonly slotBytes?: number
  /** Trial boots a new system gets. */
  readonly tries?: number
  readonly manufacturer?: string
  readonly model?: string
  /** Merged over the `piAdu` section of the configuration, one level deep. */
  readonly piAdu?: Readonly<Record<string, object>>
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
  return folder
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
    ...(contentCaFile !== undefined && { content: { caFile: contentCaFile } }),
    trust: { rootKeys },
    host: { rebootCommand: [folder.rebootProgram] },
  }
  for (const [name, value] of Object.entries(description.piAdu ?? {})) {
    const own = section[name]
    section[name] = { ...(typeof own === 'object' && own), ...value }
  }
  return {
    schemaVersion: '1.1',
    aduShellTrustedUsers: ['adu'],
    iotHubProtocol: 'mqtt',
    compatPropertyNames: 'manufacturer,model',
    manufacturer,
    model,
    dataFolder: folder.data,
    agents: [
      {
        name: 'main',
        runas: 'adu',
        connectionSource: { connectionType: 'string', connectionData: description.connectionString },
        manufacturer,
        model,
      },
    ],
    piAdu: section,
  }
}
