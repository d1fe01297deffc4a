import { chmodSync, rmSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { jsonLog } from '../adapters/system/log.ts'
import { socketAddress } from '../control/address.ts'
import { messageOf } from '../domain/errors.ts'
import { groupLauncher, hasSystemd, unitLauncher } from './launch.ts'
import { Orders } from './orders.ts'
import { StepServer } from './server.ts'
import { SETTINGS } from './settings.ts'
import { unitRunner } from './unit-runner.ts'
import { WORKERS } from './workers.ts'

/** The unit of this service. */
const UNIT = 'pi-adu-steps.service'

/** The first descriptor that systemd passes on (sd_listen_fds(3)). */
const FIRST_FD = 3

/** Seconds without work until a service that a socket has started ends; the next connection starts it again. */
const IDLE_SECONDS = 20

const USAGE = `Usage: pi-adu-steps [--socket PATH] [--state FOLDER] [--settings FILE] [--idle SECONDS] [--journald]

Runs steps of signed deployments. Without --socket it takes a listening socket from systemd.
`

const { values } = parseArgs({
  options: {
    socket: { type: 'string' },
    state: { type: 'string', default: '/var/lib/pi-adu-steps' },
    settings: { type: 'string', default: SETTINGS },
    idle: { type: 'string', default: String(IDLE_SECONDS) },
    journald: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) {
  process.stdout.write(USAGE)
  process.exit()
}

const log = jsonLog(values.journald)
const inherited = process.env.LISTEN_PID === String(process.pid) && Number(process.env.LISTEN_FDS) >= 1
if (!inherited && values.socket === undefined) {
  process.stderr.write(`pi-adu-steps: systemd passed no socket; give one with --socket\n${USAGE}`)
  process.exit(64)
}

// Only root may make units of the system.
const inUnits = process.getuid?.() === 0 && hasSystemd()
const orders = new Orders(
  {
    state: values.state,
    settings: values.settings,
    workers: WORKERS,
    launcher: inUnits ? unitLauncher(inherited ? UNIT : undefined) : groupLauncher,
    ...(inUnits ? { runner: unitRunner } : {}),
  },
  log,
)
await mkdir(values.state, { recursive: true })
// Users of steps pass through to their own folder.
chmodSync(values.state, 0o711)

const idle = inherited ? Number(values.idle) * 1000 : undefined
const service = new StepServer(orders, { idle, onIdle: () => process.exit(0) }, log)
if (inherited) service.server.listen({ fd: FIRST_FD })
else listenAt(values.socket ?? '')

// The socket starts a new one, which knows that a running order was begun.
process.on('uncaughtException', error => {
  log.error('steps.fault', { why: messageOf(error), stack: error.stack })
  process.exit(70)
})
// The program that runs may go on to its end, and no other begins: the unit's stop timeout says how long.
for (const name of ['SIGTERM', 'SIGINT'] as const) {
  process.on(name, () => {
    service.close()
    orders.stop()
    if (!orders.busy) process.exit(0)
    setInterval(() => !orders.busy && process.exit(0), 100)
  })
}

function listenAt(path: string): void {
  const address = socketAddress(path)
  rmSync(address.path, { force: true })
  service.server.listen(address.path, () => chmodSync(address.path, 0o660))
}
