import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Attempt } from '../../domain/attempt.ts'
import type { Deploy, Named } from '../../domain/deployment.ts'
import { AgentError, messageOf } from '../../domain/errors.ts'
import type { Ports } from '../../ports/ports.ts'
import { deadline } from '../../timing/deadline.ts'
import type { Loop, Recalled } from '../once-source.ts'
import { Folder, slow } from './folder.ts'

/** Milliseconds in which a folder must come back after a restart: a stick is mounted later than the agent starts. */
const BACK_WITHIN = 120_000

/** Milliseconds between two looks. */
const LOOK_EVERY = 5_000

/**
 * The list that is being carried out. The journal says only which one and in which folder, and each process reads and verifies it
 * again there.
 */
export class ListMemory {
  readonly #ports: Pick<Ports, 'content' | 'clock' | 'log'>
  readonly #loop: Pick<Loop, 'verify'>
  #known: (Named & Deploy) | undefined
  #gone: { readonly workflowId: string; readonly error: AgentError } | undefined

  constructor(ports: Pick<Ports, 'content' | 'clock' | 'log'>, loop: Pick<Loop, 'verify'>) {
    this.#ports = ports
    this.#loop = loop
  }

  know(list: Named & Deploy): void {
    this.#known = list
  }

  recalled({ workflow: { id }, fingerprint }: Attempt): Recalled | undefined {
    if (this.#gone?.workflowId === id) return this.#gone.error
    return this.#known?.workflow.id === id && this.#known.fingerprint === fingerprint ? this.#known : undefined
  }

  async recall({ own, workflow, fingerprint }: Attempt, signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#ports
    if (!own?.list) return
    const over = deadline(clock, BACK_WITHIN, () => slow(own.url), signal)
    let why = slow(own.url)
    try {
      for (;;) {
        try {
          const folder = new Folder(dirname(fileURLToPath(own.url)), this.#ports, this.#loop)
          const { list, ...found } = await folder.read(workflow, over.signal)
          if (list && found.fingerprint === fingerprint) return this.know({ ...list, workflow, fingerprint })
          why = new AgentError('LOCAL_FOLDER', `${own.url} is not the deployment any more that was begun`)
        } catch (error) {
          over.signal.throwIfAborted()
          if (!(error instanceof AgentError)) throw error
          why = error
        }
        log.warn('local.list-away', { why: why.message })
        await clock.sleep(LOOK_EVERY, over.signal)
      }
    } catch (error) {
      signal.throwIfAborted()
      if (!over.signal.aborted) log.error('local.bug', { why: messageOf(error), stack: (error as Error).stack })
      this.#gone = { workflowId: workflow.id, error: why }
    } finally {
      over.clear()
    }
  }
}
