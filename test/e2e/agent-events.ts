import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import { askForView } from '../../src/control/client.ts'
import { followAgents } from '../../src/control/follow.ts'
import type { AgentEvent, ToldEvent } from '../../src/view/event.ts'
import type { AgentView } from '../../src/view/view.ts'

type Name = AgentEvent['event']
type Told<N extends Name> = Extract<ToldEvent, { readonly event: N }>

/** In milliseconds. */
const PATIENCE = 60_000
/** Between two attempts to reach an agent that is not there, in milliseconds. */
const AGAIN = 15

/** What the agents of a device have told over the control socket, over all boots. */
export class AgentEvents {
  readonly #path: string
  readonly #told: ToldEvent[] = []
  readonly #stop = new AbortController()
  readonly #following: Promise<void>
  #look = (): void => {}
  /** Whose events are followed. */
  #pid: number | undefined

  constructor(path: string) {
    this.#path = path
    this.#following = followAgents(
      path,
      {
        again: AGAIN,
        onLine: line => {
          if ('view' in line) this.#pid = line.view.agent?.pid
          else if ('event' in line) this.#told.push(line)
          this.#look()
        },
        onLost: () => {
          this.#pid = undefined
        },
      },
      this.#stop.signal,
    )
  }

  /** The view of the agent that runs, waited for. */
  async view(): Promise<AgentView> {
    for (const limit = Date.now() + PATIENCE; Date.now() < limit; await sleep(AGAIN)) {
      const view = await this.#upToDate()
      if (view) return view
    }
    throw new Error('no agent has answered')
  }

  /** Undefined when no agent runs. When it is here, so are all events before it. */
  async #upToDate(): Promise<AgentView | undefined> {
    for (const limit = Date.now() + PATIENCE; Date.now() < limit; await sleep(AGAIN)) {
      const view = await askForView(this.#path).catch(() => undefined)
      if (view?.agent?.pid !== this.#pid) continue
      // What was sent on the other connection before has arrived, but may not have been read.
      await turn()
      await turn()
      return view
    }
    throw new Error('the events of the agent cannot be followed')
  }

  /** The pid of the agent that runs. */
  async pid(): Promise<number> {
    return (await this.view()).agent?.pid ?? 0
  }

  /** What has been told until now. */
  async all<N extends Name>(name: N): Promise<readonly Told<N>[]> {
    await this.#upToDate()
    return this.#found(name)
  }

  /** Those events for which `is` holds, once there are `count` of them. */
  waitFor<N extends Name>(
    name: N,
    count = 1,
    is: (event: Told<N>) => boolean = () => true,
  ): Promise<readonly Told<N>[]> {
    return new Promise((resolve, reject) => {
      const before = this.#look
      const end = (): void => {
        clearTimeout(timer)
        this.#look = before
      }
      const timer = setTimeout(() => {
        end()
        reject(new Error(`waited in vain for ${count} × ${name}`))
      }, PATIENCE)
      this.#look = () => {
        before()
        const found = this.#found(name).filter(is)
        if (found.length < count) return
        end()
        resolve(found)
      }
      this.#look()
    })
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#following
  }

  #found<N extends Name>(name: N): readonly Told<N>[] {
    return this.#told.filter((event): event is Told<N> => event.event === name)
  }
}
