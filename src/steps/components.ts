import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { programs } from '../adapters/system/exec.ts'
import type { Component, SignedText } from '../domain/deployment.ts'
import { AgentError, messageOf } from '../domain/errors.ts'
import type { Capabilities } from '../handlers/capabilities.ts'
import { MAX_LIST, readComponents } from '../handlers/components/component-list.ts'
import type { Runner } from '../ports/runner.ts'
import { whyNotOwned } from './owned.ts'
import type { StepSettings } from './settings.ts'

/** How often a program that lists components is tried: just after a boot, its bus may not be there yet. */
const TRIES = 3
/** Milliseconds. */
const PAUSE = 5_000

/**
 * The components of this device, read anew; undefined: the owner has named no list (PROTOCOL.md, "Components"). Agent and step service
 * use the same settings, so that both know the same components. Errors: AgentError `COMPONENTS_…`; the signal's reason on abort.
 */
export async function componentsOf(
  { components }: Pick<StepSettings, 'components'>,
  signal: AbortSignal,
  { runner = programs, pause = PAUSE }: { readonly runner?: Runner; readonly pause?: number } = {},
): Promise<readonly Component[] | undefined> {
  if (components === undefined) return undefined
  const { file, enumerator, seconds } = components
  const path = enumerator ?? file
  if (path === undefined) return undefined
  const why = await whyNotOwned(path)
  if (why !== undefined) throw new AgentError('COMPONENTS_MISSING', `the components of this device are unknown: ${why}`)
  if (enumerator === undefined) return readComponents(await textOf(path))
  const limits = { signal, timeout: seconds * 1000, code: 'COMPONENTS_FAILED' } as const
  for (let tries = 1; ; tries += 1) {
    try {
      return readComponents(await runner.run([enumerator], limits))
    } catch (error) {
      if (!(error instanceof AgentError) || error.code !== limits.code || tries === TRIES) throw error
      await sleep(pause, undefined, { signal })
    }
  }
}

/** The list for the step service: of one deployment, because it gets each order by itself. */
export class KnownComponents {
  readonly #runner: Runner
  #last: { readonly manifest: string; readonly known: Pick<Capabilities, 'components'> } | undefined

  /** `runner`: of the program that lists them. */
  constructor(runner: Runner = programs) {
    this.#runner = runner
  }

  /** Asked once: what a step changes of a component does not change whom the next one is for. Errors: as `componentsOf`. */
  async of({ manifest }: SignedText, settings: StepSettings): Promise<Pick<Capabilities, 'components'>> {
    if (this.#last?.manifest !== manifest) {
      const components = await componentsOf(settings, new AbortController().signal, { runner: this.#runner })
      this.#last = { manifest, known: components ? { components } : {} }
    }
    return this.#last.known
  }
}

async function textOf(path: string): Promise<string> {
  try {
    // A FIFO does not block the open, and was refused before.
    const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
    try {
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(MAX_LIST + 1), 0, MAX_LIST + 1, 0)
      return buffer.toString('utf8', 0, bytesRead)
    } finally {
      await handle.close()
    }
  } catch (error) {
    throw new AgentError('COMPONENTS_MISSING', `the components of this device are unknown: ${messageOf(error)}`)
  }
}
