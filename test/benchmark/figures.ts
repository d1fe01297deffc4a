import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import os from 'node:os'
import type { InstallFigures } from './agent-run.ts'
import type { Alike } from './alike.ts'
import type { Contender } from './contenders.ts'
import type { Distance, Race } from './distance.ts'
import type { Identities, IdentityFigures, IdentityName } from './identities.ts'
import type { Reader, ReadFigures, Reads } from './readers.ts'
import { median, rounded } from './statistics.ts'

export type Runner = 'agent' | Contender

/** Everything that was measured; what was not, or could not be, is missing, and `notes` say why. */
export interface Measurements {
  readonly imageBytes?: number
  readonly installs?: Readonly<Record<Runner, readonly InstallFigures[]>>
  /** Over a line like gigabit Ethernet. */
  readonly gigabit?: Readonly<Record<'agent' | 'swupdate', readonly InstallFigures[]>>
  readonly reads?: Reads
  readonly readBytes?: number
  readonly idleMB?: readonly number[]
  readonly smallPeakMB?: readonly number[]
  readonly identities?: Identities
  readonly startMs?: { readonly agent: readonly number[]; readonly bare: readonly number[] }
  readonly fetchedWithCuts?: number
  readonly connectionCuts?: number
  readonly throttled?: number
  readonly distance?: Distance
  readonly alike?: readonly Alike[]
  readonly notes: readonly string[]
}

/** The one object of `--json`; null: not measured. Ratios are agent by other: below 1 the agent is better. */
export function figuresOf(measured: Measurements) {
  const { installs, gigabit, imageBytes = Number.NaN, reads, startMs, distance, alike, identities } = measured
  const of = (runner: Runner, what: (run: InstallFigures) => number): number =>
    median((installs?.[runner] ?? []).map(what))
  const versus = (runner: Runner) =>
    ratio(
      of('agent', run => run.ms),
      of(runner, run => run.ms),
    )
  const onALine = (runner: 'agent' | 'swupdate'): number => median((gigabit?.[runner] ?? []).map(run => run.ms))
  const read = (reader: Reader, what: (run: ReadFigures) => number): number => median((reads?.[reader] ?? []).map(what))
  const readVersus = (reader: Reader) =>
    ratio(
      read('own', run => run.ms),
      read(reader, run => run.ms),
    )
  const identity = (name: IdentityName, what: (figures: IdentityFigures) => number): number =>
    median((identities?.[name] ?? []).map(what))
  /** What else the machine does only ever adds to it. */
  const fastest = (name: IdentityName): number => Math.min(...(identities?.[name] ?? []).map(({ ms }) => ms))
  const more = (name: IdentityName): number | null =>
    orNull(rounded(identity(name, each => each.idleMB) - identity('connectionString', each => each.idleMB)))
  return {
    installVsSwupdate: versus('swupdate'),
    installVsSwupdateAtGigabit: ratio(onALine('agent'), onALine('swupdate')),
    installVsPipe: versus('pipe'),
    installVsStaged: versus('staged'),
    installVsLimit: versus('limit'),
    readVsNodeHttps: readVersus('https'),
    readVsCurl: readVersus('curl'),
    rangedVsPlainAt50ms: speed(distance?.lossy),
    rangedVsPlainAt50msWithoutLoss: speed(distance?.clean),
    fetchedPerFileByteWith10Cuts: measured.fetchedWithCuts ?? null,
    fetchedPerFileByteWith20ConnectionCuts: measured.connectionCuts ?? null,
    throttledRateVsLimit: measured.throttled ?? null,
    writtenPerImageByte: orNull(Number((of('agent', run => run.writtenBytes) / imageBytes).toFixed(4))),
    rssIdleMB: orNull(rounded(median(measured.idleMB ?? []))),
    rssPeakMB: orNull(rounded(of('agent', run => run.peakMB))),
    rssPeakSmallMB: orNull(rounded(median(measured.smallPeakMB ?? []))),
    cpuVsSwupdate: ratio(
      of('agent', run => run.cpuSeconds),
      of('swupdate', run => run.cpuSeconds),
    ),
    startVsBareSdk: ratio(median(startMs?.agent ?? []), median(startMs?.bare ?? [])),
    rssCertificateMoreMB: more('certificate'),
    rssServiceMoreMB: more('service'),
    startServiceVsConnectionString: ratio(fastest('service'), fastest('connectionString')),
    comparedVsUnseen:
      alike?.map(each => ({
        share: each.share,
        seconds: rounded(median(each.compared) / median(each.unseen)),
        writtenPerImageByte: each.writtenPerImageByte,
      })) ?? null,
    runs: measured,
    machine: machine(),
  }
}

const orNull = (value: number): number | null => (Number.isNaN(value) ? null : value)

const ratio = (own: number, other: number): number | null => orNull(rounded(own / other))

export type Figures = ReturnType<typeof figuresOf>

/** Of one plain stream's; above 1 ranges are faster. */
const speed = (race: Race | undefined): number | null =>
  race ? rounded(median(race.plain) / median(race.ranged)) : null

function machine() {
  const release = /^PRETTY_NAME="(.*)"$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1]
  const swupdate = execFileSync('sh', ['-c', 'dpkg-query -W swupdate 2>/dev/null | cut -f2'])
  return {
    date: new Date().toISOString().slice(0, 10),
    cpu: os.cpus()[0]?.model ?? os.machine(),
    cores: os.cpus().length,
    memoryGB: rounded(os.totalmem() / 1e9),
    system: release ?? os.release(),
    node: process.version,
    swupdate: swupdate.toString().trim(),
    /** Of the last minute before the end: the races themselves keep two cores busy. */
    load: os.loadavg()[0],
  }
}
