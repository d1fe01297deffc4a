import { setTimeout as sleep } from 'node:timers/promises'
import { type AgentOptions, forget, type InstallFigures, installWithAgent, startAgent } from './agent-run.ts'
import { ontoACard } from './alike.ts'
import { installWith } from './contenders.ts'
import { fetchedWithCuts } from './cuts.ts'
import { atADistance, WIRES } from './distance.ts'
import type { Measurements, Runner } from './figures.ts'
import { fetchedOverBadWire, throttledShare } from './hard-times.ts'
import { startWithEach } from './identities.ts'
import { readWithEach } from './readers.ts'
import { NAMES, ORDER } from './results.ts'
import type { Payload, Rig } from './rig.ts'
import { bareClient, startAgentOnce, startBareClient } from './start-up.ts'

export interface Session {
  readonly rig: Rig
  readonly agent: AgentOptions
  readonly rounds: number
  readonly quick: boolean
  readonly bundled: boolean
  /** With an image of so many MiB; built once. */
  payload(imageMiB: number): Promise<Payload>
  /** One line of progress. */
  say(line: string): void
  /** For the end of the results. */
  note(line: string): void
}

/** One thing that can be measured alone. */
export interface Part {
  /** For `--only`. */
  readonly name: string
  readonly what: string
  /** It needs what not every machine allows; without it the other parts are measured. */
  readonly optional?: true
  run(session: Session): Promise<Partial<Measurements>>
}

const SMALL = 64
const large = ({ quick }: Session): number => (quick ? SMALL : 1024)

export const PARTS: readonly Part[] = [
  {
    name: 'start',
    what: 'from the start of the process to the twin, beside the bare SDK',
    async run({ rig, agent, rounds, bundled, say }) {
      const bare = await bareClient(rig, bundled)
      const startMs = { agent: [] as number[], bare: [] as number[] }
      const times = 4 * rounds + 1
      for (let round = 0; round < times; round++) {
        startMs.bare.push(await startBareClient(rig, bare, agent.nodeArguments ?? []))
        startMs.agent.push(await startAgentOnce(rig, agent))
        say(`${round + 1} of ${times}: bare ${startMs.bare.at(-1)!.toFixed(0)} ms, agent ${startMs.agent.at(-1)} ms`)
      }
      return { startMs }
    },
  },
  {
    name: 'idle',
    what: 'memory when connected and left alone',
    async run({ rig, agent: options, quick, say }) {
      await forget(rig)
      const agent = await startAgent(rig, options)
      const idleMB: number[] = []
      try {
        for (let look = 1; look <= 5; look++) {
          await sleep(quick ? 1_000 : 3_000)
          idleMB.push(agent.figures().rssMB)
          say(`${look} of 5: ${idleMB.at(-1)!.toFixed(1)} MB`)
        }
      } finally {
        await agent.kill()
      }
      return { idleMB }
    },
  },
  {
    name: 'identities',
    what: 'start and memory with a certificate and with an assignment, beside a connection string',
    async run({ rig, agent, rounds, say }) {
      return { identities: await startWithEach(rig, agent, rounds, say) }
    },
  },
  {
    name: 'small',
    what: `peak memory in the installation of ${SMALL} MiB`,
    async run({ rig, agent, rounds, payload, say }) {
      const small = await payload(SMALL)
      const smallPeakMB: number[] = []
      const times = Math.min(rounds, 3)
      for (let round = 1; round <= times; round++) {
        await rig.freshSlot(small.imageBytes)
        smallPeakMB.push((await installWithAgent(rig, small, agent)).peakMB)
        say(`round ${round} of ${times}: ${smallPeakMB.at(-1)!.toFixed(1)} MB`)
      }
      return { smallPeakMB }
    },
  },
  {
    name: 'readers',
    what: 'a file from HTTPS into Node: our own client, node:https, curl through a pipe',
    async run(session) {
      const { rig, agent, rounds, payload, say } = session
      const readBytes = (await payload(large(session))).bytes
      const reads = await readWithEach(rig, await payload(large(session)), agent.nodeArguments ?? [], rounds, say)
      return { reads, readBytes }
    },
  },
  {
    name: 'distance',
    what: 'the download over a far wire, in ranges and as one stream',
    optional: true,
    async run({ rig, rounds, payload, note, say }) {
      const small = await payload(SMALL)
      const times = Math.min(rounds, 3)
      const distance = await atADistance(rig, small, times, say)
      note(`At 50 ms: ${WIRES}; TCP ${distance.congestionControl}.`)
      return { distance }
    },
  },
  {
    name: 'connection-cuts',
    what: 'what is fetched twice over 20 broken connections',
    async run({ rig, agent, payload, note }) {
      note('20 connections cut: 64 MiB.')
      return { connectionCuts: await fetchedOverBadWire(rig, await payload(SMALL), agent, 20) }
    },
  },
  {
    name: 'throttle',
    what: 'a download held to 16 MiB/s',
    async run({ rig, agent, payload, note }) {
      note('Held to 16 MiB/s: 64 MiB.')
      return { throttled: await throttledShare(rig, await payload(SMALL), agent, 16 << 20) }
    },
  },
  {
    name: 'card',
    what: 'onto a slow card that holds part of the image already',
    optional: true,
    async run({ rig, agent, rounds, quick, payload, say }) {
      return { alike: await ontoACard(rig, await payload(quick ? 32 : 128), agent, Math.min(rounds, 3), say) }
    },
  },
  {
    name: 'power-cuts',
    what: 'what is fetched twice over 10 power cuts',
    async run(session) {
      const { rig, agent, quick, payload, note, say } = session
      if (quick) {
        note('Cuts: only of a large image; what is lost at each does not depend on its size.')
        return {}
      }
      return { fetchedWithCuts: await fetchedWithCuts(rig, await payload(large(session)), agent, 10, say) }
    },
  },
  {
    name: 'install',
    what: 'the whole installation, beside swupdate alone and curl with swupdate',
    async run(session) {
      const { rig, agent, rounds, payload, say } = session
      const update = await payload(large(session))
      const installs: Record<Runner, InstallFigures[]> = { agent: [], swupdate: [], pipe: [], staged: [], limit: [] }
      // In turn, so that whatever else the machine does affects all alike.
      for (let round = 1; round <= rounds; round++) {
        for (const name of ORDER) {
          await rig.freshSlot(update.imageBytes)
          const run =
            name === 'agent' ? await installWithAgent(rig, update, agent) : await installWith(name, rig, update)
          installs[name].push(run)
          const seconds = `${(run.ms / 1000).toFixed(2)} s, CPU ${run.cpuSeconds.toFixed(2)} s`
          say(`round ${round} of ${rounds}: ${NAMES[name]}: ${seconds}`)
        }
      }
      return { installs, imageBytes: update.imageBytes }
    },
  },
  {
    name: 'gigabit',
    what: 'the whole installation over a line like gigabit Ethernet, beside swupdate alone',
    async run(session) {
      const { rig, agent, rounds, payload, say } = session
      const update = await payload(large(session))
      const { gigabitUrl } = rig.content
      const gigabit: Record<'agent' | 'swupdate', InstallFigures[]> = { agent: [], swupdate: [] }
      const times = Math.min(rounds, 3)
      for (let round = 1; round <= times; round++) {
        await rig.freshSlot(update.imageBytes)
        gigabit.agent.push(await installWithAgent(rig, update, agent, gigabitUrl))
        await rig.freshSlot(update.imageBytes)
        gigabit.swupdate.push(await installWith('swupdate', rig, { ...update, url: update.gigabitUrl }))
        const [own, other] = [gigabit.agent, gigabit.swupdate].map(runs => (runs.at(-1)!.ms / 1000).toFixed(2))
        say(`round ${round} of ${times}: ${NAMES.agent} ${own} s, ${NAMES.swupdate} ${other} s`)
      }
      return { gigabit }
    },
  },
]
