import { jsonLog } from './adapters/log.ts'
import { localPorts } from './compose.ts'
import { readConfig } from './config.ts'
import { describeStatus } from './status.ts'

/** `pi-adu status`: what this device runs, what starts next, and how the last deployment went. */
export async function showStatus({ config: file, json }: { config: string; json: boolean }): Promise<void> {
  const { boot, host, journal } = localPorts(await readConfig(file), jsonLog(false))
  const status = {
    version: await host.version(),
    boot: await boot.read(new AbortController().signal),
    attempt: await journal.read(),
  }
  process.stdout.write(json ? `${JSON.stringify(status)}\n` : describeStatus(status))
}
