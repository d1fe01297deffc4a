import { writeFile } from 'node:fs/promises'
import type { Command } from 'commander'
import { CONNECTION_HELP, connectionString, type LoginOptions, withLogin } from '../connection.ts'
import { EXIT, Failure, messageOf } from '../failure.ts'
import { countsOf, type DeviceRun, hasEnded, hasFailed } from '../fleet/device-run.ts'
import { MAX_IN_LIST, resume, rollOut, type Watcher } from '../fleet/rollout.ts'
import { FOLLOW_HELP, Stopped, untilInterrupted } from '../follow.ts'
import { HubService } from '../hub-service.ts'
import { openView, type View } from '../view.ts'
import { type FollowFlags, followOptions, type PayloadFlags, payloadOf, withFollow, withPayload } from './flags.ts'

interface FleetOptions extends LoginOptions, FollowFlags, Partial<PayloadFlags> {
  readonly query?: string
  readonly batchSize: number
  readonly maxFailures: number
  readonly job?: string
  readonly resume?: string
  readonly report?: string
  readonly dryRun: boolean
}

const HELP = `
Examples:
  pi-adu-operator fleet --query "SELECT * FROM devices WHERE tags.site = 'berlin'" --uri https://… --file system.swu \\
    --batch-size 20 --max-failures 2 --report berlin.json
      twenty devices at a time; with more than two failures no further batch is started
  pi-adu-operator fleet --query "SELECT * FROM devices" --uri https://… --dry-run
      only lists the devices
  pi-adu-operator fleet --resume firmware-lx2k9
      follows again what an earlier call has started
`

/** Rows of the live table. */
const MAX_ROWS = 20

export function addFleet(program: Command): void {
  const command = program
    .command('fleet')
    .description('the same over many devices, batch after batch, with an IoT Hub job for each batch')
    .option('--query <sql>', 'which devices: SELECT * FROM devices …')
    .option('--batch-size <count>', `devices at a time, at most ${MAX_IN_LIST}`, Number, 20)
    .option('--max-failures <count>', 'with more failures than this, the rest is not started', Number, 0)
    .option('--job <id>', 'name of the jobs: <id>-1, <id>-2, …; a new one unless told')
    .option('--resume <id>', 'follow the jobs of this name, start nothing')
    .option('--report <file>', 'write a report in JSON')
    .option('--dry-run', 'only say which devices', false)
  withFollow(withLogin(withPayload(command, false)), 5000)
    .addHelpText('after', HELP + CONNECTION_HELP + FOLLOW_HELP)
    .action(fleet)
}

async function fleet(options: FleetOptions): Promise<void> {
  const { resume: resumed, json } = options
  const hub = await HubService.open(await connectionString(options))
  const id = resumed ?? options.job ?? `firmware-${Date.now().toString(36)}`
  if (!/^[\w.-]{1,50}$/.test(id)) throw new Failure(EXIT.usage, 'the name of a job has 1 to 50 of A-Z a-z 0-9 . _ -')
  let selected: readonly string[] | undefined
  if (!resumed) {
    selected = await devicesOf(hub, options)
    if (options.dryRun) return listed(selected, json)
  }
  const view = await openView(json)
  const { watcher, newest } = watching(view, id, selected?.length)
  const stop = untilInterrupted()
  let stopped: Stopped | undefined
  try {
    const timing = followOptions(options)
    if (!selected) await resume(hub, id, watcher, timing, stop)
    else await rollOut(hub, await rolloutOf(options, id, selected), watcher, stop)
  } catch (error) {
    if (!(error instanceof Stopped)) throw error
    stopped = new Stopped(`pi-adu-operator fleet --resume ${id} looks again`)
  } finally {
    await view.end()
    if (options.report !== undefined) await writeReport(options.report, reportOf(id, newest(), selected))
  }
  finish(id, newest(), selected, json)
  if (stopped) throw stopped
}

async function rolloutOf(options: FleetOptions, id: string, devices: readonly string[]) {
  const { uri, batchSize, maxFailures } = options
  if (uri === undefined) throw new Failure(EXIT.usage, '--uri is missing')
  const payload = { ...(await payloadOf({ ...options, uri })), fwPackageUri: uri }
  const call = { name: 'firmwareUpdate', payload, responseSeconds: 30, connectSeconds: 0 }
  return { id, devices, call, batchSize, maxFailures, follow: followOptions(options) }
}

async function devicesOf(hub: HubService, { query, uri, batchSize, maxFailures }: FleetOptions): Promise<string[]> {
  if (query === undefined) throw new Failure(EXIT.usage, '--query is missing, or --resume')
  if (uri === undefined) throw new Failure(EXIT.usage, '--uri is missing')
  if (!(Number.isInteger(batchSize) && batchSize >= 1 && batchSize <= MAX_IN_LIST)) {
    throw new Failure(EXIT.usage, `--batch-size is a whole number from 1 to ${MAX_IN_LIST}`)
  }
  if (!(Number.isInteger(maxFailures) && maxFailures >= 0)) {
    throw new Failure(EXIT.usage, '--max-failures is a whole number')
  }
  const found = await hub.query(query)
  const ids = found.map(each => (each as { deviceId?: unknown } | null)?.deviceId)
  if (ids.some(id => typeof id !== 'string')) {
    throw new Failure(EXIT.usage, '--query gives no deviceId: begin it with SELECT * FROM devices')
  }
  if (ids.length === 0) throw new Failure(EXIT.usage, '--query fits no device')
  return (ids as string[]).sort()
}

function listed(devices: readonly string[], json: boolean): void {
  process.stdout.write(json ? `${JSON.stringify({ devices })}\n` : `${devices.join('\n')}\n${devices.length} devices\n`)
}

function watching(view: View, id: string, total: number | undefined) {
  let newest: readonly DeviceRun[] = []
  const watcher: Watcher = {
    onChange(runs, batch) {
      const before = new Map(newest.map(run => [run.deviceId, row(run)]))
      const changed = runs.filter(run => before.get(run.deviceId) !== row(run))
      newest = runs
      const summary = `${id}, batch ${batch}: ${said(runs, total)}`
      const rows = [...runs].sort((a, b) => Number(hasEnded(a)) - Number(hasEnded(b))).slice(0, MAX_ROWS)
      const more = runs.length > MAX_ROWS ? [`… and ${runs.length - MAX_ROWS} more`] : []
      view.show([summary, ...rows.map(row), ...more], [...changed.map(row), summary].join('\n          '), {
        job: id,
        batch,
        counts: countsOf(runs),
        changed: changed.map(plain),
      })
    },
    onTrouble: (why, ms) => view.trouble(`${why} (for ${Math.round(ms / 1000)} s)`),
  }
  return { watcher, newest: () => newest }
}

const SIGN: Record<DeviceRun['outcome'], string> = {
  calling: '·',
  running: '▸',
  succeeded: '✔',
  failed: '✘',
  refused: '✘',
  unreached: '✘',
}

function row({ deviceId, outcome, progress, details }: DeviceRun): string {
  const stage = progress && progress.phase !== 'succeeded' ? `${progress.stage}` : outcome
  const percent = outcome === 'running' && progress?.percent !== undefined ? ` ${progress.percent} %` : ''
  return `${SIGN[outcome]} ${deviceId}  ${stage}${percent}${details ? `: ${details}` : ''}`
}

function said(runs: readonly DeviceRun[], total: number | undefined): string {
  const counts = Object.entries(countsOf(runs)).filter(([, count]) => count > 0)
  const rest = (total ?? runs.length) - runs.length
  const parts = counts.map(([outcome, count]) => `${count} ${outcome}`)
  return [...parts, ...(rest > 0 ? [`${rest} not started`] : [])].join(', ')
}

const plain = ({ deviceId, batch, outcome, answer, progress, details }: DeviceRun) => ({
  ...{ deviceId, batch, outcome },
  ...(answer ? { answer } : {}),
  ...(progress ? { stage: progress.stage, times: progress.times } : {}),
  ...(details === undefined ? {} : { details }),
})

function reportOf(id: string, runs: readonly DeviceRun[], selected: readonly string[] | undefined) {
  const started = new Set(runs.map(({ deviceId }) => deviceId))
  return {
    job: id,
    time: new Date().toISOString(),
    counts: countsOf(runs),
    devices: runs.map(plain),
    notStarted: (selected ?? []).filter(deviceId => !started.has(deviceId)),
  }
}

async function writeReport(file: string, report: object): Promise<void> {
  await writeFile(file, `${JSON.stringify(report, null, 2)}\n`).catch(cause => {
    throw new Failure(EXIT.unavailable, `cannot write ${file}: ${messageOf(cause)}`, { cause })
  })
}

function finish(id: string, runs: readonly DeviceRun[], selected: readonly string[] | undefined, json: boolean): void {
  const report = reportOf(id, runs, selected)
  const failed = runs.filter(hasFailed)
  process.exitCode = failed.length > 0 || report.notStarted.length > 0 ? EXIT.failed : EXIT.ok
  if (json) process.stdout.write(`${JSON.stringify({ report })}\n`)
  else process.stdout.write(`${[...failed.map(row), `${id}: ${said(runs, selected?.length)}`].join('\n')}\n`)
}
