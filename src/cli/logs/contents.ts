import { readFile } from 'node:fs/promises'
import os from 'node:os'
import { join } from 'node:path'
import { flightFiles, textOf } from '../../adapters/files/flight-record.ts'
import { describe, Program } from '../../adapters/system/program.ts'
import { type Config, secretsIn } from '../../config/config.ts'
import { effective } from '../../config/effective.ts'
import { load } from '../../config/files.ts'
import { messageOf } from '../../domain/errors.ts'
import { lastBootOf } from '../../domain/flight.ts'
import { redact } from '../../domain/redact.ts'
import { jsonText, lineByLine } from '../../domain/terminal.ts'
import type { Finding } from '../doctor/finding.ts'
import { version } from '../version.ts'
import type { Entry } from './archive.ts'
import { linesOf, pieces, within } from './pieces.ts'

type Argv = readonly [string, ...string[]]

/** Bytes of each log; a quiet device writes less in a year. */
const MOST_LOG = 8 << 20
/** Lines of each log that are requested. */
const MOST_LINES = '50000'
/** The newest entries come first: a limit takes those that matter least. */
const REVERSE = '--reverse'
/** Bytes of other programs' output. */
const MOST_OUTPUT = 1 << 20
/** Milliseconds that we wait for one program; a card that is read for the first time is slow. */
const PATIENCE = 300_000

const UNIT = 'pi-adu-agent.service'

/** Files in the data folder with the agent's state. None of them holds a key. */
const STATE = [
  'journal.json',
  'journal.json.old',
  'work.json',
  'local-tried.json',
  'slots.json',
  'clock',
  'identity/assignment.json',
  'flight',
]

const PROGRAMS: Readonly<Record<string, Argv>> = {
  'boot-state.txt': ['fw_printenv'],
  'disks.txt': ['lsblk', '--output', 'NAME,MAJ:MIN,SIZE,RO,TYPE,FSTYPE,LABEL,MOUNTPOINTS'],
  'space.txt': ['df', '--human-readable', '--local'],
  'units-failed.txt': ['systemctl', 'list-units', '--failed', '--no-pager', '--plain'],
  'unit.txt': ['systemctl', 'show', UNIT, '--no-pager'],
  'network.txt': ['ip', 'address'],
}

export const journalctl = (since: string | undefined, ...more: readonly string[]): Argv => [
  'journalctl',
  ...['--no-pager', '--quiet', '--output=short-iso-precise', `--lines=${MOST_LINES}`],
  ...(since === undefined ? [] : [`--since=${since}`]),
  ...more,
]

/** The agent's own log, as `pi-adu logs` prints it. */
export const agentLog = (since: string | undefined): Argv => journalctl(since, `--unit=${UNIT}`)

export interface Sources {
  readonly configFile: string
  /** The configuration, or the error if it cannot be read. */
  readonly config: Config | Error
  readonly since: string | undefined
  readonly findings: AsyncIterable<Finding>
  readonly now: Date
}

/** Everything that helps to understand a device, without keys. Each entry is made after the previous one was written. */
export async function* contents({ configFile, config, since, findings, now }: Sources): AsyncGenerator<Entry> {
  const secrets = config instanceof Error ? [] : secretsIn(config)
  const json = (name: string, value: unknown): Entry => ({ name, content: `${redact(jsonText(value, 2), secrets)}\n` })
  yield json('about.json', await about(now))
  if (config instanceof Error) yield json('configuration.json', { file: configFile, refused: config.message })
  else yield json('configuration.json', { file: configFile, settings: effective(config, await load(configFile)) })
  if (!(config instanceof Error)) {
    for (const name of STATE) {
      const text = await readFile(join(config.dataFolder, name), 'utf8').catch(() => undefined)
      if (text !== undefined) yield { name: `state/${name}`, content: redact(text, secrets) }
    }
    yield* flightOf(config, secrets)
  }
  for (const [name, argv] of Object.entries(PROGRAMS)) yield* output(name, argv, secrets, MOST_OUTPUT)
  const log = (name: string, argv: Argv) => output(`log/${name}.log`, [...argv, REVERSE], secrets, MOST_LOG)
  yield* log('agent', agentLog(since))
  yield* log('kernel', journalctl(since, '_TRANSPORT=kernel'))
  yield* log('warnings', journalctl(since, '--priority=warning'))
  // Last, because a network failure may take a minute.
  const all: Finding[] = []
  for await (const finding of findings) all.push(finding)
  yield json('doctor.json', all)
}

/** The record of the last trial: what its boots reached, what the kernel said in a panic, and the log of its last boot. */
async function* flightOf(config: Config, secrets: readonly string[]): AsyncGenerator<Entry> {
  const { boots } = flightFiles(config.dataFolder, config.piAdu.flightFolder)
  for (const name of ['boots', 'kernel']) {
    const text = await textOf(join(config.piAdu.flightFolder, name))
    if (text !== '') yield { name: `trial/${name}.txt`, content: lineByLine(redact(text, secrets)) }
  }
  const [, id] = /^boot ([0-9a-f-]{32,36}) /.exec(lastBootOf(await textOf(boots)) ?? '') ?? []
  if (id)
    yield* output(
      'trial/log.log',
      journalctl(undefined, `--boot=${id.replaceAll('-', '')}`, REVERSE),
      secrets,
      MOST_OUTPUT,
    )
}

/** The output of a program; further pieces, older ones of a log, have a number in their names. An error is an entry of its own at the end. */
export async function* output(
  name: string,
  argv: Argv,
  secrets: readonly string[],
  most: number,
  patience = PATIENCE,
): AsyncGenerator<Entry> {
  const program = new Program(argv, { signal: NEVER, readSlowly: true })
  let timedOut = false
  const late = (): void => {
    timedOut = true
    program.stop()
  }
  let count = 0
  const lines = linesOf(within(patience, late, program.stdout))
  for await (const content of pieces(lines, secrets, most, argv.includes(REVERSE))) {
    count += 1
    yield { name: count === 1 ? name : name.replace(/\.\w+$/, `-${count}$&`), content }
  }
  // After its limit `pieces` reads no more.
  program.stop()
  const ending = { ...(await program.ended), timedOut }
  if (!timedOut && ending.exitCode === 0 && count === 0) yield { name, content: '' }
  if (!timedOut && (ending.exitCode === 0 || (count > 0 && ending.signal === 'SIGTERM'))) return
  yield { name: `${name}.failed`, content: `${argv.join(' ')} ${describe(ending, patience)}\n` }
}

async function about(now: Date): Promise<Readonly<Record<string, unknown>>> {
  const release = await readFile('/etc/os-release', 'utf8').catch(error => messageOf(error))
  return {
    made: now.toISOString(),
    agent: version(),
    node: process.version,
    kernel: os.release(),
    machine: os.machine(),
    system: /^PRETTY_NAME="?([^"\n]*)/m.exec(release)?.[1],
    uptimeSeconds: Math.round(os.uptime()),
    freeMemoryMiB: Math.round(os.freemem() / (1 << 20)),
  }
}

const NEVER = new AbortController().signal
