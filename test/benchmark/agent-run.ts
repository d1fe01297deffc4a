import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { readLoggedEvent } from '../../src/view/event.ts'
import { fileUrls } from '../bench/authoring/manifest.ts'
import { jsonIn } from '../bench/event-lines.ts'
import { writeBootEnv } from '../bench/workbench/boot-env.ts'
import { type ProcessFigures, processFigures } from './process-figures.ts'
import { DEVICE, type Payload, type Rig } from './rig.ts'

type Logged = NonNullable<ReturnType<typeof readLoggedEvent>>
type Name = Logged['event']
type Told<N extends Name> = Extract<Logged, { readonly event: N }>

/** The agent as a process of its own, on slot a of the rig's device. */
export interface RunningAgent {
  readonly pid: number
  /** Milliseconds from its start to "connected, and the twin was read". */
  readonly connectedAfter: number
  figures(): ProcessFigures
  /** The first such event from now on. Rejects when the agent ends, or reports a result, before. */
  event<N extends Name>(name: N, is?: (event: Told<N>) => boolean): Promise<Told<N>>
  kill(signal?: NodeJS.Signals): Promise<void>
}

export interface AgentOptions {
  /** The program; the built one of this repository unless told. */
  readonly program: string
  readonly nodeArguments?: readonly string[]
  /** What is called instead, with the rest as its arguments; becomes the agent. */
  readonly call?: readonly string[]
}

/** Forgets earlier attempts, as after a flash. */
export async function forget({ device }: Rig): Promise<void> {
  await rm(device.data, { recursive: true, force: true })
  await writeBootEnv(device.bootEnv, { primary: 'a', trial: 'none', tries: 0 })
}

export async function startAgent(
  { device }: Rig,
  { program, nodeArguments = [], call = [] }: AgentOptions,
): Promise<RunningAgent> {
  const begun = Date.now()
  const argv = [...call, process.execPath, ...nodeArguments, program, 'run', '--config', device.config]
  const child = spawn(argv[0]!, argv.slice(1), {
    cwd: device.dir,
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', TMPDIR: device.temporary },
  })
  const exit = once(child, 'exit')
  const listeners = new Set<(event: Logged | undefined) => void>()
  const last: string[] = []
  const lines = createInterface({ input: child.stderr })
  lines.on('line', text => {
    last.push(text)
    if (last.length > 5) last.shift()
    const event = readLoggedEvent(jsonIn(text))
    if (event) for (const listener of [...listeners]) listener(event)
  })
  lines.on('close', () => {
    for (const listener of [...listeners]) listener(undefined)
  })
  const event = <N extends Name>(name: N, is: (event: Told<N>) => boolean = () => true): Promise<Told<N>> =>
    new Promise((resolve, reject) => {
      const listener = (next: Logged | undefined): void => {
        const found = next?.event === name && is(next as Told<N>)
        if (next && !found && next.event !== 'result') return
        listeners.delete(listener)
        if (found) resolve(next as Told<N>)
        else reject(new Error(`the agent did not get there; it said last: ${last.join('\n')}`))
      }
      listeners.add(listener)
    })
  const connected = await event('hub.connected')
  const pid = child.pid!
  return {
    pid,
    connectedAfter: Date.parse(connected.time) - begun,
    figures: () => processFigures(pid),
    event,
    async kill(signal = 'SIGTERM') {
      child.kill(signal)
      await exit
    },
  }
}

export interface InstallFigures {
  readonly ms: number
  readonly cpuSeconds: number
  readonly writtenBytes: number
  readonly peakMB: number
}

/** From the order in the twin to a slot that is whole and on the disk, which is when the installation has ended. */
export async function installWithAgent(
  rig: Rig,
  payload: Payload,
  options: AgentOptions,
  url = rig.content.url,
): Promise<InstallFigures> {
  await forget(rig)
  const agent = await startAgent(rig, options)
  try {
    const before = agent.figures()
    const done = agent.event('install.end')
    const begun = Date.now()
    order(rig, payload, url)
    const { time } = await done
    const after = agent.figures()
    return {
      ms: Date.parse(time) - begun,
      cpuSeconds: after.cpuSeconds - before.cpuSeconds,
      writtenBytes: after.writtenBytes - before.writtenBytes,
      peakMB: after.peakMB,
    }
  } finally {
    await agent.kill()
  }
}

/** `url`: where the content server has a file. */
export function order(rig: Rig, { update }: Payload, url = rig.content.url): string {
  return rig.bench.deploy(DEVICE, update, { fileUrls: fileUrls(update.files, url) })
}
