import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { failInOneLine } from '../../../image/builder/failure.ts'
import { repositoryRoot } from '../../../image/builder/repository.ts'
import type { Machine } from '../../../image/qemu/machine.ts'
import { commandLine } from '../../../src/cli/command-line.ts'
import { startBench } from '../../bench/bench.ts'
import { BOOT_MS, Guest } from '../../bench/qemu/guest.ts'
import { buildSystem } from '../../bench/qemu/system.ts'
import { bytesOf, causesOf, EVENTS, type Place, type Row, readTrace, type Trace } from './writes.ts'

/** Of an idle day. */
const GOAL_MB = 20
const PARTS = ['', 'boot', 'slot a', 'slot b', 'data']
const ID = 'pi1'

failInOneLine('bench:wear')
const { minutes, settle, write } = commandLine(
  'bench:wear',
  'boots the image in QEMU and measures what an idle device writes to its card, and which program is the cause',
)
  .option('--minutes <minutes>', 'how long to measure', Number, 15)
  .option('--settle <minutes>', 'from the connection to the first measurement', Number, 4)
  .option('--write', 'write test/benchmark/wear/RESULTS.md', false)
  .parse()
  .opts<{ minutes: number; settle: number; write: boolean }>()

const say = (line: string): void => void process.stderr.write(`${line}\n`)
const dir = await mkdtemp(join(os.tmpdir(), 'bench-wear-'))
const bench = await startBench({ stateDir: join(dir, 'bench') })
let guest: Guest | undefined
try {
  say('building the image')
  const system = await buildSystem(dir)
  guest = await Guest.flash({ id: ID, bench, system: system.dir, image: system.image, dir: join(dir, 'guest') })
  say('booting')
  const machine = await guest.powerOn()
  await bench.hub.waitForConnected(ID, { timeoutMs: BOOT_MS })
  await machine.login(BOOT_MS)
  say(`connected; measuring begins in ${settle} minutes`)
  await sleep(settle * 60_000)
  say(`measuring for ${minutes} minutes`)
  const idle = await measured(machine, () => sleep(minutes * 60_000))
  say(`${perDay(idle).toFixed(1)} MB in a day: ${JSON.stringify(idle)}`)
  say('measuring a lost connection')
  const lost = await measured(machine, async () => {
    bench.hub.setStatus(ID, 'disabled')
    await bench.hub.waitForDisconnected(ID, { timeoutMs: 60_000 })
    bench.hub.setStatus(ID, 'enabled')
    await bench.hub.waitForConnected(ID, { timeoutMs: BOOT_MS })
    // Until the kernel has written back what was left (30 s), and journald has synchronised.
    await sleep(150_000)
  })
  const timers = (await machine.shell('systemctl list-timers --all --no-legend --no-pager')).output
  const text = described(idle, lost, timers)
  process.stdout.write(text)
  if (write) await writeFile(join(repositoryRoot(), 'test/benchmark/wear/RESULTS.md'), text)
  if (perDay(idle) > GOAL_MB) process.exitCode = 1
} finally {
  await guest?.powerCut()
  await bench.stop()
  await rm(dir, { recursive: true, force: true })
}

interface Measured {
  readonly seconds: number
  /** By the disk's own count, in bytes; the trace must agree. */
  readonly bytes: number
  /** Of the journal. */
  readonly lines: number
  readonly rows: readonly Row[]
  readonly causes: readonly [string, number][]
}

/** Traces the disk's writes from a moment with nothing left to write until `during` is over. */
async function measured(machine: Machine, during: () => Promise<unknown>): Promise<Measured> {
  const shell = async (command: string): Promise<string> => {
    const { code, output } = await machine.shell(command)
    if (code !== 0) throw new Error(`${command}: ${output.slice(-500)}`)
    return output
  }
  const tracing = '/sys/kernel/tracing'
  const written = async () => {
    const [up, , , , , , , sectors] = (
      await shell('echo $(cut -d" " -f1 /proc/uptime) $(cat /sys/block/vda/stat)')
    ).split(/\s+/)
    return { bytes: Number(sectors) * 512, seconds: Number(up) }
  }
  const events = Object.entries(EVENTS)
  await shell(
    [
      `mountpoint -q ${tracing} || mount -t tracefs tracefs ${tracing}`,
      `cd ${tracing}`,
      'echo 0 >tracing_on; echo >trace; echo 8192 >buffer_size_kb',
      ...events.flatMap(([path, filter]) => [
        ...(filter ? [`echo '${filter}' >${path}/filter`] : []),
        `echo 1 >${path}/enable`,
      ]),
      'cd /; sync; sleep 1',
    ].join('\n'),
  )
  const logged = async () => Number(await shell('journalctl -b -o cat | wc -l'))
  const linesBefore = await logged()
  const before = await written()
  await shell(`echo 1 >${tracing}/tracing_on`)
  await during()
  await shell(`echo 0 >${tracing}/tracing_on`)
  const after = await written()
  const text = await shell(`grep -E ' (254,0|bdi 254:0)' ${tracing}/trace || true`)
  const trace: Trace = readTrace(text, '254,0')
  const places: Place[] = []
  for (const number of [1, 2, 3, 4]) {
    const [start, sectors] = (
      await shell(`cat /sys/block/vda/vda${number}/start /sys/block/vda/vda${number}/size`)
    ).split(/\s+/)
    places.push({ name: PARTS[number]!, start: Number(start), sectors: Number(sectors) })
  }
  const files = (await shell('find /data -xdev -printf "%i %p\\n"')).split('\n').map(line => line.split(' ', 2))
  const paths = new Map(files.map(([inode, path]) => [Number(inode), path ?? '']))
  return {
    seconds: after.seconds - before.seconds,
    bytes: after.bytes - before.bytes,
    lines: (await logged()) - linesBefore,
    rows: bytesOf(trace.writes, places),
    causes: causesOf(trace.causes, paths),
  }
}

/** In MB, as if the whole day were like that. */
function perDay({ bytes, seconds }: Measured): number {
  return ((bytes / seconds) * 86_400) / 1e6
}

function described(idle: Measured, lost: Measured, timers: string): string {
  const kB = (bytes: number): string => (bytes / 1e3).toFixed(0)
  const rows = ({ rows: all }: Measured) =>
    all.map(({ what, requests, bytes }) => `| ${what} | ${requests} | ${kB(bytes)} |`)
  const causes = ({ causes: all }: Measured) => all.map(([what, times]) => `| ${what} | ${times} |`)
  return `# What an idle device writes

Made by \`npm run bench:wear -- --write\` on ${new Date().toISOString().slice(0, 10)}: the image in QEMU, connected to the bench hub, no NTP server in
reach. Measured for ${(idle.seconds / 60).toFixed(1)} minutes, ${settle} minutes after the first connection, by the kernel's trace of the disk.

**${perDay(idle).toFixed(1)} MB in a day** (goal: at most ${GOAL_MB}): ${kB(idle.bytes)} kB in the measurement by the disk's own count. The journal got ${idle.lines} lines.

| partition and writer | requests | kB |
|---|---|---|
${rows(idle).join('\n')}

| task and the file that it changed | times |
|---|---|
${causes(idle).join('\n')}

A connection that is lost and made again writes ${kB(lost.bytes)} kB in ${lost.seconds.toFixed(0)} s, idle writes included, and ${lost.lines} lines of the journal. The agent replaces its connection every 18 to 20 hours.

| partition and writer | requests | kB |
|---|---|---|
${rows(lost).join('\n')}

Timers of the system, whose work may lie outside the measurement:

\`\`\`
${timers.trim()}
\`\`\`
`
}
