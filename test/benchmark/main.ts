import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { buildAgent, PROGRAM } from '../../image/builder/agent-bundle.ts'
import { failInOneLine } from '../../image/builder/failure.ts'
import { repositoryRoot } from '../../image/builder/repository.ts'
import { version } from '../../src/cli/version.ts'
import { messageOf, UsageError } from '../../src/domain/errors.ts'
import type { AgentOptions } from './agent-run.ts'
import { figuresOf, type Measurements } from './figures.ts'
import { PARTS, type Part, type Session } from './parts.ts'
import { plot } from './plot.ts'
import { markdown, summary } from './results.ts'
import { type Payload, type Rig, startRig } from './rig.ts'

const USAGE = `npm run bench -- [--quick] [--json] [--write] [--only PART[,PART]] [--rounds N]
                     [--unbundled] [--dir FOLDER]
  --only       these parts alone: ${PARTS.map(({ name }) => name).join(', ')}
  --rounds     how often each thing is measured (5)
  --quick      a 64 MiB image instead of 1 GiB
  --json       one object on stdout
  --write      test/benchmark/RESULTS.md and results.svg
  --unbundled  the agent as compiled, with all of node_modules, instead of the one file that devices get
  --dir        a folder with 4 GB of space; a temporary one by default`

failInOneLine('bench')
const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
    unbundled: { type: 'boolean', default: false },
    rounds: { type: 'string', default: '5' },
    only: { type: 'string' },
    dir: { type: 'string', default: os.tmpdir() },
    help: { type: 'boolean', short: 'h', default: false },
    version: { type: 'boolean', short: 'V', default: false },
  },
})

const rounds = Number(values.rounds)

const say = (line: string): void => void process.stderr.write(`${line}\n`)

async function main(): Promise<void> {
  const parts = partsToRun()
  if (!(rounds >= 1 && Number.isInteger(rounds))) throw new UsageError('--rounds must be a whole number from 1')
  say(`building the agent, a hub and a content server; then ${parts.length} parts`)
  // Whoever else works on this machine goes first.
  os.setPriority(5)
  const root = repositoryRoot()
  const dir = await mkdtemp(join(values.dir, 'pi-adu-benchmark-'))
  const rig = await startRig(dir)
  try {
    const figures = figuresOf(await measure(rig, await agentUnderTest(root, dir), parts))
    if (values.json) console.log(JSON.stringify(figures, null, 2))
    else console.log(summary(figures))
    if (values.write) {
      await writeFile(join(root, 'test/benchmark/RESULTS.md'), markdown(figures))
      await writeFile(join(root, 'test/benchmark/results.svg'), plot(figures))
    }
  } finally {
    await rig.stop()
    await rm(dir, { recursive: true })
  }
}

/** As the image starts it. */
async function agentUnderTest(root: string, dir: string): Promise<AgentOptions> {
  if (values.unbundled) return { program: join(root, 'dist/src/main.js') }
  await buildAgent(join(dir, 'agent'))
  return {
    program: join(dir, 'agent', PROGRAM),
    nodeArguments: ['--no-opt', '--max-semi-space-size=1', '--v8-pool-size=1'],
  }
}

async function measure(rig: Rig, agent: AgentOptions, parts: readonly Part[]): Promise<Measurements> {
  const notes: string[] = []
  const payloads = new Map<number, Promise<Payload>>()
  const session: Session = {
    rig,
    agent,
    rounds,
    quick: values.quick,
    bundled: !values.unbundled,
    payload(imageMiB) {
      const known = payloads.get(imageMiB)
      if (known) return known
      say(`  building an update of ${imageMiB} MiB`)
      const built = rig.payload(imageMiB)
      payloads.set(imageMiB, built)
      return built
    },
    say: line => say(`  ${line}`),
    note: line => void notes.push(line),
  }
  let measured: Partial<Measurements> = {}
  for (const [index, part] of parts.entries()) {
    say(`${index + 1} of ${parts.length}, ${part.name}: ${part.what}`)
    try {
      measured = { ...measured, ...(await part.run(session)) }
    } catch (error) {
      // Whoever asks for it by name wants to know.
      if (!part.optional || values.only !== undefined) throw error
      notes.push(`Not measured, ${part.name}: ${messageOf(error)}`)
      say(`  not measured: ${messageOf(error)}`)
    }
  }
  return { ...measured, notes }
}

function partsToRun(): readonly Part[] {
  if (values.only === undefined) return PARTS
  if (values.write) throw new UsageError('--write needs all parts, so it does not go with --only')
  const names = values.only.split(',').map(name => name.trim())
  const known = PARTS.map(({ name }) => name)
  const wrong = names.find(name => !known.includes(name))
  if (wrong !== undefined) throw new UsageError(`--only has no part "${wrong}"; there are ${known.join(', ')}`)
  return PARTS.filter(({ name }) => names.includes(name))
}

if (values.version) console.log(version())
else if (values.help) console.log(USAGE)
else await main()
