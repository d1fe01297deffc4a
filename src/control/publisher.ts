import { uptime } from 'node:os'
import { messageOf } from '../domain/errors.ts'
import { redactAll } from '../domain/redact.ts'
import type { Events } from '../ports/events.ts'
import type { Log } from '../ports/log.ts'
import { afterEvent, afterLook, type Look } from '../view/changes.ts'
import { type AgentEvent, LEVELS, type ToldEvent } from '../view/event.ts'
import { type AgentView, NOTHING } from '../view/view.ts'

/** Called synchronously, so it must return quickly. */
export interface Watcher {
  onEvent?(event: ToldEvent): void
  onView?(view: AgentView): void
}

const ON_TRIAL: ReadonlySet<string> = new Set(['trial', 'committing'])

/** Number of newest events kept for later clients. */
const KEPT = 100

export interface PublisherOptions {
  /** Masked in everything that is published. */
  readonly secrets?: readonly string[]
  /** What is known before the first observation. */
  readonly first?: Partial<AgentView>
  /** Facts that the loop does not observe, read on each of its observations. */
  readonly facts?: () => Partial<AgentView>
}

/** Holds the agent's view and publishes its changes and every event. Secrets are masked. */
export class Publisher implements Events {
  readonly #log: Log
  readonly #secrets: readonly string[]
  readonly #facts: () => Partial<AgentView>
  readonly #watchers = new Set<Watcher>()
  #view: AgentView
  #recent: readonly ToldEvent[] = []
  #count = 0

  constructor(log: Log, { secrets = [], first = {}, facts = () => ({}) }: PublisherOptions = {}) {
    this.#log = log
    this.#secrets = secrets
    this.#facts = facts
    this.#view = { ...NOTHING, ...first }
  }

  get view(): AgentView {
    return this.#view
  }

  /** The kept events after number `after`. Progress events are not kept, because the view has the progress. */
  recent(after: number): readonly ToldEvent[] {
    return this.#recent.filter(({ n }) => n > after)
  }

  tell(event: AgentEvent): void {
    const { event: name, ...fields } = event
    this.#log[LEVELS[name] ?? 'info'](name, fields)
    this.#count += 1
    const stamp = { n: this.#count, time: new Date().toISOString(), uptime: uptime() }
    const told: ToldEvent = redactAll({ ...event, ...stamp }, this.#secrets)
    if (name !== 'install.progress') this.#recent = [...this.#recent, told].slice(-KEPT)
    this.#each(({ onEvent }) => onEvent?.(told))
    this.change(view => afterEvent(view, event, stamp.uptime))
  }

  saw(look: Look): void {
    const isTrial = ON_TRIAL.has(look.phase) && !ON_TRIAL.has(this.#view.phase)
    this.change(view => afterLook({ ...view, ...this.#facts() }, look, uptime()))
    if (isTrial) this.tell({ event: 'trial.begun', slot: look.boot.booted, tries: look.boot.tries })
  }

  change(change: (view: AgentView) => AgentView): void {
    const next = redactAll(change(this.#view), this.#secrets)
    if (JSON.stringify(next) === JSON.stringify(this.#view)) return
    this.#view = next
    this.#each(({ onView }) => onView?.(next))
  }

  /** Publishes everything to `watcher` from now on. Returns a function that ends this. */
  watch(watcher: Watcher): () => void {
    this.#watchers.add(watcher)
    return () => void this.#watchers.delete(watcher)
  }

  /** An error in a watcher must not reach the agent. */
  #each(call: (watcher: Watcher) => void): void {
    for (const watcher of this.#watchers) {
      try {
        call(watcher)
      } catch (error) {
        this.#watchers.delete(watcher)
        this.#log.error('watcher.failed', { why: messageOf(error) })
      }
    }
  }
}
