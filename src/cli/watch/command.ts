import { uptime } from 'node:os'
import { readConfig } from '../../config/config.ts'
import { ControlError } from '../../control/client.ts'
import { followAgents } from '../../control/follow.ts'
import type { Line } from '../../control/protocol.ts'
import { jsonText } from '../../domain/terminal.ts'
import type { ToldEvent } from '../../view/event.ts'
import { type AgentView, NOTHING } from '../../view/view.ts'
import { type LiveView, openView } from '../live-view.ts'
import { eventText, picture, type Sample, sampled } from './text.ts'

export interface WatchOptions {
  readonly config: string
  readonly json: boolean
  /** Whether this event is the last one to show. */
  readonly until?: (event: ToldEvent) => boolean
}

/** Lights, progress and what is written: the picture has them in other words. */
const IN_THE_PICTURE: ReadonlySet<string> = new Set(['mood', 'writing', 'install.progress', 'step.progress'])

/** In milliseconds. */
const FRAME = 500

/** `pi-adu watch`: what the agent does, live, over its restarts, until it is stopped. */
export async function watch({ config: file, json, until = () => false }: WatchOptions): Promise<void> {
  const { piAdu, hasSlots } = await readConfig(file)
  const { controlSocket } = piAdu
  const stop = new AbortController()
  // Not once: as soon as nobody else listens, the terminal library would end the process.
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, () => stop.abort())
  // Whoever reads may have seen enough.
  process.stdout.on('error', () => stop.abort())
  try {
    if (json) {
      const onLine = (line: Line): void => void process.stdout.write(`${jsonText(line)}\n`)
      return await followAgents(controlSocket, { onLine }, stop.signal)
    }
    const view = await openView(false)
    const scene = new Scene(view, hasSlots)
    const timer = setInterval(() => scene.draw(), FRAME)
    try {
      const onLine = (line: Line): void => {
        scene.add(line)
        if ('event' in line && until(line)) stop.abort()
      }
      await followAgents(controlSocket, { onLine, onLost: () => scene.lost() }, stop.signal)
    } finally {
      clearInterval(timer)
      await view.end()
    }
  } catch (error) {
    if (!(error instanceof ControlError)) throw error
    process.stderr.write(`pi-adu: ${error.message}\n`)
    process.exitCode = 1
  }
}

/** What a person sees. */
class Scene {
  readonly #view: LiveView
  readonly #hasSlots: boolean
  #agent: AgentView = NOTHING
  #events: readonly ToldEvent[] = []
  #samples: readonly Sample[] = []
  #change = ''

  constructor(view: LiveView, hasSlots: boolean) {
    this.#view = view
    this.#hasSlots = hasSlots
  }

  add(line: Line): void {
    if ('error' in line) {
      this.#view.trouble(line.error)
      return
    }
    // An answer: this client has ordered nothing.
    if ('done' in line) return
    if ('view' in line) {
      this.#agent = line.view
      const { progress } = line.view
      this.#samples = progress ? sampled(this.#samples, { uptime: uptime(), bytes: progress.bytes }) : []
    } else {
      if (IN_THE_PICTURE.has(line.event)) return
      this.#events = [...this.#events, line].slice(-100)
      this.#change = eventText(line)
    }
    this.draw()
  }

  /** The agent is not there: it is started again, or the machine is. */
  lost(): void {
    this.#agent = { ...this.#agent, agent: null }
    this.draw()
  }

  draw(): void {
    const seen = { now: new Date(), uptime: uptime(), hasSlots: this.#hasSlots, trouble: 'not running; waiting for it' }
    // A stall is seen by the time that passes.
    const { progress } = this.#agent
    if (progress) this.#samples = sampled(this.#samples, { uptime: seen.uptime, bytes: progress.bytes })
    const lines = picture(this.#agent, seen, this.#samples, this.#events)
    this.#view.show(lines, this.#change || 'waiting for the agent', {})
  }
}
