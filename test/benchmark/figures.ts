import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import os from 'node:os'
import type { InstallFigures } from './agent-run.ts'
import type { Alike } from './alike.ts'
import type { Contender } from './contenders.ts'
import type { Distance, Race } from './distance.ts'
import { median, rounded } from './statistics.ts'

export type Runner = 'agent' | Contender

/** Everything that was measured; what could not be is missing, and `notes` say why. */
export interface Measurements {
  readonly imageBytes: number
  readonly installs: Readonly<Record<Runner, readonly InstallFigures[]>>
  readonly idleMB: readonly number[]
  readonly smallPeakMB: readonly number[]
  readonly startMs: { readonly agent: readonly number[]; readonly bare: readonly number[] }
  readonly fetchedWithCuts?: number
  readonly connectionCuts: number
  readonly throttled: number
  readonly distance?: Distance
  readonly alike?: readonly Alike[]
  readonly notes: readonly string[]
}

/** The one object of `--json`. Ratios are agent by other: below 1 the agent is better. */
export function figuresOf(measured: Measurements) {
  const { installs, imageBytes, startMs, distance, alike } = measured
  const of = (runner: Runner, what: (run: InstallFigures) => number): number => median(installs[runner].map(what))
  const versus = (runner: Runner): number => rounded(of('agent', run => run.ms) / of(runner, run => run.ms))
  return {
    installVsSwupdate: versus('swupdate'),
    installVsPipe: versus('pipe'),
    installVsStaged: versus('staged'),
    installVsLimit: versus('limit'),
    rangedVsPlainAt50ms: speed(distance?.lossy),
    rangedVsPlainAt50msWithoutLoss: speed(distance?.clean),
    fetchedPerFileByteWith10Cuts: measured.fetchedWithCuts ?? null,
    fetchedPerFileByteWith20ConnectionCuts: measured.connectionCuts,
    throttledRateVsLimit: measured.throttled,
    writtenPerImageByte: Number((of('agent', run => run.writtenBytes) / imageBytes).toFixed(4)),
    rssIdleMB: rounded(median(measured.idleMB)),
    rssPeakMB: rounded(of('agent', run => run.peakMB)),
    rssPeakSmallMB: rounded(median(measured.smallPeakMB)),
    cpuVsSwupdate: rounded(of('agent', run => run.cpuSeconds) / of('swupdate', run => run.cpuSeconds)),
    startVsBareSdk: rounded(median(startMs.agent) / median(startMs.bare)),
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
