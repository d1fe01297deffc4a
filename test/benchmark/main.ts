import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { buildAgent, PROGRAM } from '../../image/build/agent-bundle.ts'
import { repositoryRoot } from '../../image/build/repository.ts'
import { type AgentOptions, forget, type InstallFigures, installWithAgent, startAgent } from './agent-run.ts'
import { ontoACard } from './alike.ts'
import { installWith } from './contenders.ts'
import { fetchedWithCuts } from './cuts.ts'
import { atADistance, WIRES } from './distance.ts'
import { figuresOf, type Measurements, type Runner } from './figures.ts'
import { fetchedOverBadWire, throttledShare } from './hard-times.ts'
import { plot } from './plot.ts'
import { markdown, NAMES, ORDER, summary } from './results.ts'
import { type Payload, type Rig, startRig } from './rig.ts'
import { bareClient, startAgentOnce, startBareClient } from './start-up.ts'

const USAGE = `npm run bench -- [--quick] [--json] [--write] [--rounds N] [--unbundled] [--dir FOLDER]
  --quick      a 64 MiB image instead of 1 GiB
  --json       one object on stdout
  --write      test/benchmark/RESULTS.md and results.svg
  --unbundled  the agent as compiled, with all of node_modules, instead of the one file that devices get
  --dir        where 4 GB may be written; a temporary folder unless told`

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
    unbundled: { type: 'boolean', default: false },
    rounds: { type: 'string', default: '5' },
    dir: { type: 'string', default: os.tmpdir() },
    help: { type: 'boolean', default: false },
  },
})

const say = (line: string): void => void process.stderr.write(`${line}\n`)

async function main(): Promise<void> {
  // Whoever else works on this machine goes first.
  os.setPriority(5)
  const root = repositoryRoot()
  const dir = await mkdtemp(join(values.dir, 'pi-adu-benchmark-'))
  const rig = await startRig(dir)
  try {
    const figures = figuresOf(await measure(rig, await agentUnderTest(root, dir)))
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

async function measure(rig: Rig, agent: AgentOptions): Promise<Measurements> {
  const rounds = Number(values.rounds)
  const notes: string[] = [
    ...(values.quick ? ['Cuts: only of a large image; what is lost at each does not depend on its size.'] : []),
  ]
  const startMs = await starts(rig, agent, 4 * rounds + 1)
  const idleMB = await idle(rig, agent)
  const small = await rig.payload(64)
  const smallPeakMB: number[] = []
  for (let round = 0; round < Math.min(rounds, 3); round++) {
    await rig.freshSlot(small.imageBytes)
    smallPeakMB.push((await installWithAgent(rig, small, agent)).peakMB)
  }
  const distance = await atADistance(rig, small, Math.min(rounds, 3)).catch(error => {
    notes.push(`Not at a distance: ${error.message}`)
    return undefined
  })
  if (distance) notes.push(`At 50 ms: ${WIRES}; TCP ${distance.congestionControl}.`)
  const connectionCuts = await fetchedOverBadWire(rig, small, agent, 20)
  const throttled = await throttledShare(rig, small, agent, 16 << 20)
  notes.push('20 connections cut, and held to 16 MiB/s: 64 MiB.')
  const alike = await ontoACard(rig, await rig.payload(values.quick ? 32 : 128), agent, Math.min(rounds, 3)).catch(
    error => {
      notes.push(`Not onto a card: ${error.message}`)
      return undefined
    },
  )
  const payload = values.quick ? small : await rig.payload(1024)
  const cut = values.quick ? {} : { fetchedWithCuts: await fetchedWithCuts(rig, payload, agent, 10) }
  const installs = await race(rig, payload, agent, rounds)
  return {
    imageBytes: payload.imageBytes,
    installs,
    idleMB,
    smallPeakMB,
    startMs,
    connectionCuts,
    throttled,
    ...(distance && { distance }),
    ...(alike && { alike }),
    ...cut,
    notes,
  }
}

/** In turn, so that whatever else the machine does meets all alike. */
async function race(rig: Rig, payload: Payload, agent: AgentOptions, rounds: number) {
  const installs: Record<Runner, InstallFigures[]> = { agent: [], swupdate: [], pipe: [], staged: [], limit: [] }
  for (let round = 0; round < rounds; round++) {
    for (const name of ORDER) {
      await rig.freshSlot(payload.imageBytes)
      const run = name === 'agent' ? await installWithAgent(rig, payload, agent) : await installWith(name, rig, payload)
      installs[name].push(run)
      say(`round ${round + 1}: ${NAMES[name]}: ${(run.ms / 1000).toFixed(2)} s, CPU ${run.cpuSeconds.toFixed(2)} s`)
    }
  }
  return installs
}

async function starts(rig: Rig, agent: AgentOptions, rounds: number) {
  const bare = await bareClient(rig, !values.unbundled)
  const startMs = { agent: [] as number[], bare: [] as number[] }
  for (let round = 0; round < rounds; round++) {
    startMs.bare.push(await startBareClient(rig, bare, agent.nodeArguments ?? []))
    startMs.agent.push(await startAgentOnce(rig, agent))
  }
  return startMs
}

/** Connected, and left alone for a while. */
async function idle(rig: Rig, options: AgentOptions): Promise<number[]> {
  await forget(rig)
  const agent = await startAgent(rig, options)
  try {
    const seen: number[] = []
    for (let i = 0; i < 5; i++) {
      await sleep(values.quick ? 1_000 : 3_000)
      seen.push(agent.figures().rssMB)
    }
    return seen
  } finally {
    await agent.kill()
  }
}

if (values.help) console.log(USAGE)
else await main()
