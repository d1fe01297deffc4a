import { setTimeout as sleep } from 'node:timers/promises'
import { cardOf } from '../../../src/cli/page-card.ts'
import { watchAgent } from '../../../src/control/client.ts'
import type { Card } from '../../../src/page/state.ts'
import type { ToldEvent } from '../../../src/view/event.ts'
import { type AgentView, NOTHING } from '../../../src/view/view.ts'

/** Milliseconds before an agent that is not there is looked for again. */
const AGAIN = 200
/** Kept events; the card shows the newest ones. */
const KEPT = 200

/** Follows the agent of a workbench device over its control socket, through power cuts, as long as the process lives. */
export class Followed {
  readonly #card: (view: AgentView, events: readonly ToldEvent[]) => Card
  #view: AgentView = NOTHING
  #events: ToldEvent[] = []
  #answers = false

  constructor(id: string, controlSocket: string, changed: () => void) {
    this.#card = cardOf({
      ...{ host: id, hasSlots: true },
      // What a board with two lights would show.
      lights: [
        { name: 'status', role: 'status' },
        { name: 'fault', role: 'fault' },
      ],
    })
    void this.#follow(controlSocket, changed)
  }

  /** Whether the agent answers now; otherwise the card is the last one. */
  get answers(): boolean {
    return this.#answers
  }

  card(): Card {
    return this.#card(this.#view, this.#events)
  }

  async #follow(path: string, changed: () => void): Promise<never> {
    for (;;) {
      try {
        for await (const line of watchAgent(path, new AbortController().signal, 0)) {
          if ('view' in line) {
            this.#view = line.view
            this.#answers = true
          } else if ('event' in line && !this.#events.some(({ n, time }) => n === line.n && time === line.time))
            this.#events = [...this.#events, line].slice(-KEPT)
          changed()
        }
      } catch {
        // The device is off, or its agent is just starting.
      }
      if (this.#answers) {
        this.#answers = false
        changed()
      }
      await sleep(AGAIN, undefined, { ref: false })
    }
  }
}
