// The bootloader of a workbench device:
//   node bootloader.js --device DIR [--agent ENTRY.js] [--panic-delay MS] [--grace MS] [--watchdog MS]
//     [--env NAME=VALUE]… [--until-stdin-ends]
// SIGTERM switches the device off in good order; the plug is pulled with pullPlug() of power-file.ts.
import { appendFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { repositoryRoot } from '../../../image/builder/repository.ts'
import { type BoardOptions, loadSlot, runSystem, type SystemEnd } from './board.ts'
import { readBootEnv, type SlotName, writeBootEnv } from './boot-env.ts'
import { afterUnstartable, decide } from './boot-rule.ts'
import { type BootRecord, type DeviceFolder, deviceFolder, makeFolders, readBootLog } from './device-folder.ts'
import { recordFlight } from './flight.ts'
import { takePower } from './power-file.ts'

type Cause = SystemEnd | 'power on' | 'slot cannot be started'

const { values } = parseArgs({
  options: {
    device: { type: 'string' },
    agent: { type: 'string' },
    'panic-delay': { type: 'string', default: '300' },
    grace: { type: 'string', default: '2000' },
    watchdog: { type: 'string', default: '15000' },
    env: { type: 'string', multiple: true, default: [] },
    'until-stdin-ends': { type: 'boolean', default: false },
  },
})
if (values.device === undefined) throw new Error('--device is missing')

const folder = deviceFolder(values.device)
const options: BoardOptions = {
  agent: values.agent ?? join(repositoryRoot(), 'dist/src/main.js'),
  graceMs: Number(values.grace),
  watchdogMs: Number(values.watchdog),
  environment: Object.fromEntries(values.env.map(pair => [pair.split('=', 1)[0]!, pair.slice(pair.indexOf('=') + 1)])),
}
const panicDelayMs = Number(values['panic-delay'])

const off = new AbortController()
process.on('SIGTERM', () => off.abort())
process.on('SIGINT', () => off.abort())
if (values['until-stdin-ends']) process.stdin.resume().once('close', () => off.abort())

await makeFolders(folder)
const { mark } = await takePower(folder).catch((error: Error) => {
  console.error(error.message)
  process.exit(1)
})
let cause: Cause = 'power on'
while (!off.signal.aborted) {
  cause = await boot(folder, cause)
  // A machine that starts over at once would do so thousands of times while nobody looks.
  if (cause !== 'reboot') await sleep(panicDelayMs, undefined, { signal: off.signal }).catch(() => undefined)
}
process.exit(0)

async function run(device: DeviceFolder): Promise<SystemEnd> {
  const env = await readBootEnv(device.bootEnv)
  return runSystem(device, mark, options, off.signal, env?.trial === 'pending')
}

/** One power-on: the rule, then a slot until it ends. */
async function boot(device: DeviceFolder, why: Cause): Promise<Cause> {
  const decision = decide(await readBootEnv(device.bootEnv), await readBootEnv(device.bootBackup))
  if (decision.write) await writeBootEnv(device.bootEnv, decision.write)
  if (decision.backup) await writeBootEnv(device.bootBackup, decision.backup)

  if (await load(device, decision.boot, decision.reason, why)) return run(device)
  const next = afterUnstartable(decision.boot, await readBootEnv(device.bootEnv))
  if (next === 'power cycle') return 'slot cannot be started'
  if (await load(device, next.boot, 'other slot cannot be started', 'slot cannot be started')) {
    return run(device)
  }
  return 'slot cannot be started'
}

async function load(device: DeviceFolder, slot: SlotName, reason: string, why: Cause): Promise<boolean> {
  const env = await readBootEnv(device.bootEnv)
  const record: BootRecord = {
    boot: ((await readBootLog(device.dir)).at(-1)?.boot ?? 0) + 1,
    time: new Date().toISOString(),
    slot,
    trial: env?.trial ?? 'none',
    tries: env?.tries ?? 0,
    reason,
    cause: why,
  }
  await appendFile(device.bootLog, `${JSON.stringify(record)}\n`)
  const isLoaded = await loadSlot(device, slot, record.boot)
  await recordFlight(device, { boot: record.boot, isTrial: record.trial === 'pending', isLoaded, cause: why })
  return isLoaded
}
