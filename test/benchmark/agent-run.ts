import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { fileUrls } from '../bench/authoring/manifest.ts'
import { writeBootEnv } from '../bench/workbench/boot-env.ts'
import { type ProcessFigures, processFigures } from './process-figures.ts'
import { DEVICE, type Payload, type Rig } from './rig.ts'

interface LogLine {
  readonly time: string
  readonly event: string
  readonly step?: string
  readonly [field: string]: unknown
}

/** The agent as a process of its own, on slot a of the rig's device. */
export interface RunningAgent {
  readonly pid: number
  /** Milliseconds from its start to "connected, and the twin was read". */
  readonly connectedAfter: number
  figures(): ProcessFigures
  /** The first line that `check` likes, from now on. Rejects when the agent ends, or reports a result, before. */
  line(check: (line: LogLine) => boolean): Promise<LogLine>
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
  const listeners = new Set<(line: LogLine | undefined) => void>()
  const last: string[] = []
  const lines = createInterface({ input: child.stderr })
  lines.on('line', text => {
    last.push(text)
    if (last.length > 5) last.shift()
    if (!text.startsWith('{')) return
    const line = JSON.parse(text) as LogLine
    for (const listener of [...listeners]) listener(line)
  })
  lines.on('close', () => {
    for (const listener of [...listeners]) listener(undefined)
  })
  const line = (check: (line: LogLine) => boolean): Promise<LogLine> =>
    new Promise((resolve, reject) => {
      const listener = (next: LogLine | undefined): void => {
        const liked = next && check(next)
        if (next && !liked && next.event !== 'result') return
        listeners.delete(listener)
        if (liked) resolve(next)
        else reject(new Error(`the agent did not get there; it said last: ${last.join('\n')}`))
      }
      listeners.add(listener)
    })
  const connected = await line(({ event }) => event === 'hub.connected')
  const pid = child.pid!
  return {
    pid,
    connectedAfter: Date.parse(connected.time) - begun,
    figures: () => processFigures(pid),
    line,
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

/** From the order in the twin to a slot that is whole and on the disk, which is when the agent turns to the boot state. */
export async function installWithAgent(rig: Rig, payload: Payload, options: AgentOptions): Promise<InstallFigures> {
  await forget(rig)
  const agent = await startAgent(rig, options)
  try {
    const before = agent.figures()
    const done = agent.line(({ event, step }) => event === 'step' && step === 'activate')
    const begun = Date.now()
    order(rig, payload)
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

export function order(rig: Rig, { update }: Payload): string {
  return rig.bench.deploy(DEVICE, update, { fileUrls: fileUrls(update.files, rig.content.url) })
}
