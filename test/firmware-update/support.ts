import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { copyFile, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { type Bench, startBench } from '../bench/bench.ts'
import type { JsonObject } from '../bench/hub/hub.ts'
import { type PoweredDevice, startDevice } from '../bench/workbench/control.ts'
import { atEnd, tempDir } from '../hub/support.ts'

export interface MethodDevice {
  readonly bench: Bench
  readonly dir: string
  readonly device: PoweredDevice
  /** Puts a file on the content server and gives its URL. */
  publish(path: string, name?: string): Promise<string>
  call(payload: unknown, name?: string): Promise<{ status: number; payload: unknown }>
  /** `iothubDM.firmwareUpdate`, once `check` likes it. */
  until(check: (firmware: Record<string, unknown>) => boolean): Promise<Record<string, unknown>>
  /** Statuses in the order of the reports, each once in a row. */
  readonly stages: string[]
}

/** A bench with one device that takes the method, as the test wants it. */
export async function aMethodDevice(t: TestContext, firmwareUpdate: object = {}): Promise<MethodDevice> {
  const bench = await startBench({ stateDir: await tempDir(t) })
  atEnd(t, () => bench.stop())
  const allowed = { enabled: true, allowedHosts: ['localhost'], requireSha256: false, stageSeconds: 0 }
  const piAdu = { firmwareUpdate: { ...allowed, ...firmwareUpdate }, reboot: { enabled: true } }
  const dir = await bench.addDevice('pi1', { piAdu })
  const stages: string[] = []
  bench.hub.onReported((_, patch) => {
    const status = firmwareOf(patch).status
    if (typeof status === 'string' && status !== stages.at(-1)) stages.push(status)
  })
  const device = await startDevice(dir)
  atEnd(t, () => device.powerOff())
  await bench.hub.waitFor(() => bench.hub.isSubscribed('pi1', '$iothub/methods/POST/#'), { timeoutMs: 30_000 })
  return {
    bench,
    dir,
    device,
    stages,
    async publish(path, name = 'image.swu') {
      await copyFile(path, join(bench.contentDir, name))
      return bench.content.url(name)
    },
    call: (payload, name = 'firmwareUpdate') => bench.hub.invokeMethod('pi1', name, payload as never),
    async until(check) {
      const wait = { timeoutMs: 60_000, what: 'the firmware update' }
      const reported = await bench.hub.waitForReported('pi1', each => check(firmwareOf(each)), wait)
      return firmwareOf(reported)
    },
  }
}

export function firmwareOf(reported: JsonObject): Record<string, unknown> {
  return ((reported.iothubDM as JsonObject | undefined)?.firmwareUpdate as JsonObject | undefined) ?? {}
}

export const isStatus =
  (...statuses: string[]) =>
  ({ status }: Record<string, unknown>): boolean =>
    statuses.includes(String(status))

export const sha256Of = async (path: string): Promise<string> =>
  createHash('sha256')
    .update(await readFile(path))
    .digest('hex')

export const assertIsTime = (text: unknown): void =>
  assert.match(String(text), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
