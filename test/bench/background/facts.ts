import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Bench } from '../bench.ts'
import { preloadFile } from '../hub/preload.ts'
import { type DeviceStatus, deviceStatus } from '../workbench/device-folder.ts'
import { type Place, usualDir } from './place.ts'

/** All that a program, or a person, needs to use a running bench. */
export interface BenchFacts {
  readonly running: true
  readonly pid: number
  readonly stateDir: string
  /** Connection string of the owner's policy with the cloud's host name, for programs that use the preload. */
  readonly serviceConnectionString: string
  /** Of a device that is registered and that no workbench uses: for a device program of one's own. */
  readonly deviceConnectionString: string
  readonly deviceId: string
  readonly caFile: string
  /** For `NODE_OPTIONS=--require`; needs nothing else to find this bench. */
  readonly preload: string
  /** What programs with unmodified SDKs are started with. */
  readonly env: Readonly<Record<string, string>>
  readonly contentUrl: string
  readonly contentDir: string
  /** A ready signed bundle of a newer system, in `contentDir`. */
  readonly bundle: { readonly file: string; readonly version: string; readonly url: string }
  readonly devices: readonly DeviceFacts[]
  /** URL of the page of all devices; null without one. */
  readonly web: string | null
  readonly log: string
}

export interface DeviceFacts {
  readonly id: string
  /** `qemu`: all that is known of it is what the hub knows. */
  readonly place: 'workbench' | 'qemu'
  readonly dir: string
  readonly power: 'on' | 'off' | 'unknown'
  readonly connected: boolean
  readonly booted: string | undefined
  readonly version: string | undefined
  readonly boot: DeviceStatus['boot'] | null
  /** `deviceUpdate.agent` as the twin shows it; null before the first report. */
  readonly reported: Readonly<Record<string, unknown>> | null
}

/** The id that no workbench uses. */
export const OWN_DEVICE = 'my-device'

/** Facts that stay while the bench runs. */
export async function settledFacts(
  bench: Bench,
  place: Place,
  bundle: { file: string; version: string },
): Promise<Omit<BenchFacts, 'devices' | 'web'>> {
  const { hub, content, contentDir } = bench
  const preload = await preloadFor(place, hub.benchFile)
  return {
    running: true,
    pid: process.pid,
    stateDir: place.dir,
    serviceConnectionString: hub.serviceConnectionString,
    deviceConnectionString: hub.deviceConnectionString(OWN_DEVICE),
    deviceId: OWN_DEVICE,
    caFile: hub.caFile,
    preload,
    env: {
      NODE_OPTIONS: `--require ${JSON.stringify(preload)}`,
      PI_ADU_BENCH: hub.benchFile,
      // For the content server, which no preload leads to.
      NODE_EXTRA_CA_CERTS: hub.caFile,
    },
    contentUrl: content.url(''),
    contentDir,
    bundle: { ...bundle, url: content.url(bundle.file.slice(contentDir.length + 1)) },
    log: place.log,
  }
}

export async function deviceFacts(bench: Bench, id: string, power: 'on' | 'off'): Promise<DeviceFacts> {
  const dir = bench.deviceDir(id)
  const { boot, booted, versions } = await deviceStatus(dir)
  return {
    id,
    place: 'workbench',
    dir,
    power,
    connected: bench.hub.isConnected(id),
    booted,
    version: booted && versions[booted],
    boot: boot ?? null,
    reported: reportedBy(bench, id),
  }
}

/** A device on a card, which a QEMU of somebody else starts. `dir` holds what its card needs. */
export function guestFacts(bench: Bench, id: string, dir: string): DeviceFacts {
  const connected = bench.hub.isConnected(id)
  const power = connected ? 'on' : 'unknown'
  const nothing = { booted: undefined, version: undefined, boot: null }
  return { id, place: 'qemu', dir, power, connected, ...nothing, reported: reportedBy(bench, id) }
}

function reportedBy({ hub }: Bench, id: string): Record<string, unknown> | null {
  const { deviceUpdate } = hub.getTwin(id).properties.reported as { deviceUpdate?: { agent?: Record<string, unknown> } }
  return deviceUpdate?.agent ?? null
}

/** The preload finds a bench at the usual place by itself; for another place this file passes the path. */
async function preloadFor({ dir }: Place, benchFile: string): Promise<string> {
  if (dir === usualDir()) return preloadFile()
  const file = join(dir, 'preload.cjs')
  const lines = [
    `process.env.PI_ADU_BENCH ||= ${JSON.stringify(benchFile)}`,
    `require(${JSON.stringify(preloadFile())})`,
  ]
  await writeFile(file, `${lines.join('\n')}\n`)
  return file
}
