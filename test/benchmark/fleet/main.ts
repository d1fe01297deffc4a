import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import { join } from 'node:path'
import { repositoryRoot } from '../../../image/builder/repository.ts'
import { commandLine } from '../../../src/cli/command-line.ts'
import { openAuthority } from '../../bench/authoring/keys.ts'
import { startHub } from '../../bench/hub/hub.ts'
import { countOf, KINDS, messagesOf, peakOf, perSecond, requestsOf, type Seen } from './counting.ts'
import { histogram } from './histogram.ts'
import { type Round, round } from './run.ts'

/** Published: messages of 4 KB that one S1 unit takes a day, and connections that a hub of up to 8 units takes a second. */
const QUOTA = 400_000
const CONNECTIONS_PER_SECOND = 100
/** The agent replaces a connection after 18 to 20 hours (`connectionLifetime`). */
const CONNECTIONS_PER_DAY = 24 / 19
const FLEET = 10_000
const GOAL = 6

const { devices, processes, spread, idle, write } = commandLine(
  'bench:fleet',
  'starts many agents without machines against the bench hub, and counts what a fleet costs the hub',
)
  .option('--devices <count>', '', Number, 500)
  .option('--processes <count>', '', Number, 4)
  .option('--spread <seconds>', 'piAdu.hub.spreadSeconds of the second round', Number, 60)
  .option('--idle <seconds>', 'to listen to a fleet at rest', Number, 10)
  .option('--write', 'write test/benchmark/fleet/RESULTS.md and requests.svg', false)
  .parse()
  .opts<{ devices: number; processes: number; spread: number; idle: number; write: boolean }>()

const stateDir = await mkdtemp(join(os.tmpdir(), 'bench-fleet-'))
const hub = await startHub({ stateDir })
try {
  const authority = await openAuthority(join(stateDir, 'keys'))
  // The machines are in memory: another round is another fleet.
  const fleet = (name: string): string[] => {
    const ids = Array.from({ length: devices }, (_, index) => `${name}-${String(index).padStart(5, '0')}`)
    for (const id of ids) hub.createDevice(id)
    return ids
  }
  const usual = { processes, idleSeconds: idle }
  const atOnce = await round(hub, authority, fleet('a'), { ...usual, version: '2.0.0', spread: 0 })
  const spreadOut = await round(hub, authority, fleet('b'), { ...usual, version: '2.0.0', spread: spread * 1000 })
  const text = described(atOnce, spreadOut)
  process.stdout.write(text)
  if (write) {
    const folder = join(repositoryRoot(), 'test/benchmark/fleet')
    await writeFile(join(folder, 'RESULTS.md'), text)
    await writeFile(join(folder, 'requests.svg'), picture(atOnce, spreadOut))
  }
  if (perDevice(atOnce) > GOAL || perDevice(spreadOut) > GOAL) process.exitCode = 1
} finally {
  await hub.stop()
  await rm(stateDir, { recursive: true, force: true })
}
process.exit()

/** Messages of one device for one deployment, startup reports apart. */
function perDevice({ deployment }: Round): number {
  return messagesOf(deployment).filter(({ kind }) => kind !== 'startup report').length / devices
}

function described(atOnce: Round, spreadOut: Round): string {
  const cpu = os.cpus()[0]?.model ?? 'unknown'
  const per = (seen: readonly Seen[], kind: Seen['kind']) => (countOf(seen, kind) / devices).toFixed(2)
  const kinds = KINDS.map(kind => `| ${kind} | ${per(atOnce.deployment, kind)} | ${per(spreadOut.deployment, kind)} |`)
  const reads = countOf(atOnce.connecting, 'twin read') / countOf(atOnce.connecting, 'connect')
  const perDay = Math.round(reads * CONNECTIONS_PER_DAY * FLEET)
  const still = messagesOf(atOnce.idle).length + messagesOf(spreadOut.idle).length
  const deployed = Math.round(FLEET * (messagesOf(atOnce.deployment).length / devices))
  const share = (count: number) => `${((100 * count) / QUOTA).toFixed(1)} %`
  const peak = (seen: readonly Seen[]) => `${peakOf(requestsOf(seen))}`
  const downloads = ({ deployment }: Round) => peakOf(deployment.filter(({ kind }) => kind === 'download'))
  const connects = ({ deployment }: Round) => peakOf(deployment.filter(({ kind }) => kind === 'connect'))
  return `# What a fleet costs the hub

Made by \`npm run bench:fleet -- --write\` on ${new Date().toISOString().slice(0, 10)}: ${devices} agents in ${processes} processes, real up to the device SDK,
against the bench hub on one machine (${cpu}, ${os.cpus().length} cores, Node ${process.version.slice(1)}). No images, no waiting for a boot: a real
fleet is slower, and its peaks are lower.

| messages per device and deployment | all at once | spread over ${spread} s |
|---|---|---|
${kinds.join('\n')}
| **all but startup reports** (goal: at most ${GOAL}) | **${perDevice(atOnce).toFixed(2)}** | **${perDevice(spreadOut).toFixed(2)}** |

| most in one second | all at once | spread over ${spread} s |
|---|---|---|
| requests of devices to the hub | ${peak(atOnce.deployment)} | ${peak(spreadOut.deployment)} |
| connections (published limit of a small hub: ${CONNECTIONS_PER_SECOND}) | ${connects(atOnce)} | ${connects(spreadOut)} |
| downloads that begin | ${downloads(atOnce)} | ${downloads(spreadOut)} |

![Requests per second](requests.svg)

At rest the ${devices} agents sent ${still} messages in ${atOnce.idleSeconds + spreadOut.idleSeconds} s (keep-alive is not counted). A connection begins with ${reads.toFixed(2)} twin reads and is
replaced every 18 to 20 hours: ${FLEET} devices at rest make ${perDay} messages a day, ${share(perDay)} of the ${QUOTA} that one S1 unit takes.
One deployment to all of them adds ${deployed}, ${share(deployed)} of one unit's day.
`
}

function picture(atOnce: Round, spreadOut: Round): string {
  const series = (title: string, { deployment }: Round) => {
    const seen = requestsOf(deployment)
    return { title, counts: perSecond(seen), peak: peakOf(seen) }
  }
  return histogram([series('all at once', atOnce), series(`spread over ${spread} s`, spreadOut)])
}
