import type { InstallFigures } from './agent-run.ts'
import { CARD } from './card.ts'
import { CONTENDERS } from './contenders.ts'
import type { Figures, Runner } from './figures.ts'
import { READERS, type Reader, type ReadFigures } from './readers.ts'
import { median } from './statistics.ts'

export const NAMES: Record<Runner, string> = { agent: 'pi-adu-agent', ...CONTENDERS }
export const ORDER = ['agent', 'swupdate', 'pipe', 'staged', 'limit'] as const

/** What the figures are held against. */
const GOALS: readonly [keyof Figures, string, (value: number) => boolean][] = [
  ['installVsSwupdate', '≤ 1.05', value => value <= 1.05],
  ['installVsSwupdateAtGigabit', '≤ 1.05', value => value <= 1.05],
  ['installVsPipe', '', () => true],
  ['installVsStaged', '≤ 0.77', value => value <= 0.77],
  ['installVsLimit', '≤ 1.5', value => value <= 1.5],
  ['readVsNodeHttps', '≤ 1', value => value <= 1],
  ['readVsCurl', '', () => true],
  ['writtenPerImageByte', '≤ 1.002', value => value <= 1.002],
  ['rssIdleMB', '≤ 60', value => value <= 60],
  ['rssPeakMB', '≤ 75', value => value <= 75],
  ['rssPeakSmallMB', 'within 5 of the peak', () => true],
  ['cpuVsSwupdate', '', () => true],
  ['startVsBareSdk', '≤ 1.1', value => value <= 1.1],
  ['rssCertificateMoreMB', '≤ 1', value => value <= 1],
  ['rssServiceMoreMB', '', () => true],
  ['startServiceVsConnectionString', '≤ 1.1', value => value <= 1.1],
  ['fetchedPerFileByteWith10Cuts', '≤ 1.10', value => value <= 1.1],
  ['fetchedPerFileByteWith20ConnectionCuts', '≤ 1.10', value => value <= 1.1],
  ['throttledRateVsLimit', '0.9 to 1', value => value >= 0.9 && value <= 1],
  ['rangedVsPlainAt50ms', '≥ 0.9', value => value >= 0.9],
  ['rangedVsPlainAt50msWithoutLoss', '≥ 0.9', value => value >= 0.9],
]

/** RESULTS.md: from one run, nothing typed in by hand. */
export function markdown(figures: Figures): string {
  const { machine, runs } = figures
  const { installs, imageBytes } = runs
  if (!installs || !imageBytes) throw new Error('no installation was measured')
  const size = `${imageBytes / 2 ** 20} MiB`
  const rows = ORDER.filter(name => installs[name].length > 0).map(name => {
    const of = (what: (run: InstallFigures) => number) => median(installs[name].map(what))
    const seconds = installs[name].map(run => (run.ms / 1000).toFixed(2)).join(' ')
    const written = of(run => run.writtenBytes) / imageBytes
    return `| ${NAMES[name].replace(/\|/g, '\\|')} | ${(of(run => run.ms) / 1000).toFixed(2)} | ${of(run => run.cpuSeconds).toFixed(2)} | ${written.toFixed(3)} | ${seconds} |`
  })
  const goals = GOALS.map(([name, goal, met]) => {
    const value = figures[name] as number | null
    const verdict = value === null ? 'not measured' : goal === '' ? '' : met(value) ? 'met' : 'missed'
    return `| \`${name}\` | ${value ?? '–'} | ${goal} | ${verdict} |`
  })
  return `# How fast, how lean

Made by \`npm run bench\` on ${machine.date}: ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGB} GB, ${machine.system}, Node ${machine.node},
swupdate ${machine.swupdate}, load ${machine.load?.toFixed(1)}. Content comes over HTTPS from another process on the same machine; the slot is a file. Each
contender starts with a slot of zeros and ends with the slot on the disk (fsync); rounds in turn. \`swupdate -d\` finds the
server's authority in a list of its own (mount namespace), since its downloader has no option for one.

![Seconds for one installation](results.svg)

| image of ${size} | seconds, median | CPU seconds | bytes written per image byte | seconds, each round |
|---|---|---|---|---|
${rows.join('\n')}

Ratios are agent by other. \`swupdate -d\` takes from the network what nobody has checked; the agent computes the SHA-256 of the
whole file besides SWUpdate's own, on the same two cores, which the content server shares. So what the agent does costs time only where the network is faster than two
cores can follow, several gigabit per second; \`installVsSwupdateAtGigabit\` is the same race over a line as fast as the fastest network of
any Pi${secondsAtGigabit(figures)}. \`installVsPipe\` is against curl and a FIFO, without a gate.

| figure | value | goal | |
|---|---|---|---|
${goals.join('\n')}
${whoReads(figures)}${onACard(figures)}${runs.notes.map(line => `\n${line}\n`).join('')}`
}

function secondsAtGigabit({ runs: { gigabit } }: Figures): string {
  if (!gigabit) return ''
  const of = (runner: 'agent' | 'swupdate'): string => (median(gigabit[runner].map(run => run.ms)) / 1000).toFixed(2)
  return ` (${of('agent')} s, and ${of('swupdate')} s)`
}

/** Why the agent has an HTTP client of its own. */
function whoReads({ runs: { reads, readBytes = 0 } }: Figures): string {
  if (!reads) return ''
  const rows = (Object.keys(READERS) as Reader[]).map(reader => {
    const of = (what: (run: ReadFigures) => number) => median(reads[reader].map(what))
    const seconds = reads[reader].map(run => (run.ms / 1000).toFixed(2)).join(' ')
    return `| ${READERS[reader]} | ${(of(run => run.ms) / 1000).toFixed(2)} | ${of(run => run.cpuSeconds).toFixed(2)} | ${of(run => run.peakMB).toFixed(1)} | ${seconds} |`
  })
  return `
## Readers

From HTTPS into a Node process with the agent's arguments, which drops what it reads (${(readBytes / 2 ** 20).toFixed(0)} MiB). CPU and memory are
those of the process, and of curl where it runs.

| reader | seconds, median | CPU seconds | peak RSS, MB | seconds, each round |
|---|---|---|---|---|
${rows.join('\n')}
`
}

/** What it is worth to look first. */
function onACard({ runs: { alike } }: Figures): string {
  if (!alike) return ''
  const rows = alike.map(({ share, compared, unseen, writtenPerImageByte }) => {
    const [on, off] = [median(compared), median(unseen)]
    const ratio = (on / off).toFixed(2)
    return `| ${Math.round(share * 100)} % | ${off.toFixed(2)} | ${on.toFixed(2)} | ${ratio} | ${writtenPerImageByte} |`
  })
  return `
## Compare before write

The default for a slot that is a block device; above, where it is a file, SWUpdate writes it itself. Onto a block device that is
as slow as a card (${CARD}), which holds so much of the new image already. Of two builds of this
repository's image 90 to 99 % are alike when only the agent has changed, and 22 % when Debian's packages have.

| alike | seconds, written unseen | seconds, compared | compared by unseen | bytes written per image byte, compared |
|---|---|---|---|---|
${rows.join('\n')}
`
}

/** For the terminal. */
export function summary(figures: Figures): string {
  const lines = GOALS.filter(([name]) => figures[name] !== null).map(([name, goal, met]) => {
    const value = figures[name] as number | null
    const mark = value === null ? ' ' : met(value) ? '✓' : '✗'
    return `${mark} ${name.padEnd(38)} ${String(value ?? 'not measured').padStart(8)}  ${goal}`
  })
  const card = figures.comparedVsUnseen ?? []
  const looks = card.map(
    ({ share, seconds, writtenPerImageByte }) =>
      `  onto a card, ${Math.round(share * 100)} % alike: ${seconds} of the time, ${writtenPerImageByte} bytes written per image byte`,
  )
  const { reads } = figures.runs
  const readers = (reads ? (Object.keys(READERS) as Reader[]) : []).map(reader => {
    const of = (what: (run: ReadFigures) => number) => median((reads?.[reader] ?? []).map(what))
    const figure = `${(of(run => run.ms) / 1000).toFixed(2)} s, CPU ${of(run => run.cpuSeconds).toFixed(2)} s, ${of(run => run.peakMB).toFixed(1)} MB`
    return `  read by ${READERS[reader]}: ${figure}`
  })
  return [...lines, ...readers, ...looks, ...figures.runs.notes].join('\n')
}
