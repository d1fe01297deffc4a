import { resolve } from 'node:path'
import type { ToldEvent } from '../../view/event.ts'
import { watch } from '../watch/command.ts'
import { type OrderOptions, order } from './command.ts'

const APPLIED = 700

/** `pi-adu install`: orders a local update and follows it to its result, or until the machine reboots into the new system. */
export async function install(target: string, options: OrderOptions & { readonly watch: boolean }): Promise<void> {
  const answer = await order(options, { do: 'install', target: isUrl(target) ? target : resolve(target) })
  if (!('done' in answer) || answer.workflowId === undefined || options.json || !options.watch) return
  const end = new End(answer.workflowId)
  await watch({ config: options.config, json: false, until: event => end.sees(event) })
  const { failed, reboots } = end
  if (failed) process.exitCode = 1
  if (reboots) process.stdout.write('the machine reboots into the new system: pi-adu status says how it went\n')
}

const isUrl = (target: string): boolean => /^[a-z][a-z\d+.-]*:\/\//i.test(target)

/** The last event of a local update; the agent also sends older events, of other updates. */
export class End {
  readonly #workflowId: string
  #isTaken = false
  failed = false
  reboots = false

  constructor(workflowId: string) {
    this.#workflowId = workflowId
  }

  sees(event: ToldEvent): boolean {
    if (event.event === 'deployment.taken' && event.workflowId === this.#workflowId) this.#isTaken = true
    if (!this.#isTaken) return false
    if (event.event === 'result' && event.workflowId === this.#workflowId) {
      this.failed = event.resultCode !== APPLIED
      return true
    }
    // Events that were under way may follow.
    this.reboots ||= event.event === 'reboot'
    return this.reboots
  }
}
