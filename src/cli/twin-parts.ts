import { uptime } from 'node:os'
import { join } from 'node:path'
import { readInstalledLayers } from '../adapters/files/layers.ts'
import { proxiesOf } from '../adapters/http/route.ts'
import { countStart, takeStartBack } from '../adapters/logs/upload-starts.ts'
import { systemClock } from '../adapters/system/clock.ts'
import type { Config } from '../config/config.ts'
import { Hosts } from '../domain/hosts.ts'
import type { Log } from '../ports/log.ts'
import type { LogUpload } from '../ports/log-upload.ts'
import { LogCollection } from '../twin/log-collection.ts'
import { OwnReporter } from '../twin/own-reporter.ts'

/** What this agent tells of itself in the twin. */
export async function ownReporterOf({ piAdu }: Config, log: Log): Promise<OwnReporter> {
  const layers = await readInstalledLayers(piAdu.layersFile)
  return new OwnReporter(systemClock, log, { progress: piAdu.report.progress, layers, uptime })
}

/** Remote log collection. What makes and uploads the bundle is loaded when it is asked for. `signal` ends an upload. */
export function logCollectionOf(file: string, config: Config, log: Log, signal: AbortSignal): LogCollection {
  const { enabled, allowedHosts, maxMegabytes } = config.piAdu.diagnostics
  const hosts = new Hosts('piAdu.diagnostics.allowedHosts', allowedHosts)
  const storage = { ca: config.contentCa, proxies: proxiesOf(config.proxies), hosts }
  const starts = join(config.dataFolder, 'logs.json')
  const device: LogUpload = {
    begin: operationId => countStart(starts, operationId),
    takeBack: operationId => takeStartBack(starts, operationId),
    open: async (place, until) => (await import('../adapters/logs/storage.ts')).openBlob(place, storage, until),
    bundle: async (out, until) => (await import('./logs/collect.ts')).writeBundle(file, maxMegabytes, out, until),
  }
  return new LogCollection(device, systemClock, log, { enabled, hosts }, signal)
}
