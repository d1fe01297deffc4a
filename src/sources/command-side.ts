import type { CommandName } from '../domain/command.ts'
import type { Ports } from '../ports/ports.ts'
import type { Loop, Outcome } from './once-source.ts'
import { OneRequest } from './one-request.ts'

/** What somebody at the device orders, as the loop sees it: one command at a time. */
export class CommandSide extends OneRequest {
  readonly #whyNot: Loop['whyNot']

  constructor({ clock }: Pick<Ports, 'clock'>, loop: Pick<Loop, 'whyNot' | 'wake'>) {
    super(clock, loop)
    this.#whyNot = loop.whyNot
  }

  /** Never rejects. */
  async ask(command: CommandName): Promise<Outcome> {
    const why = this.request ? 'another command is being carried out: ask again' : this.#whyNot(command)
    if (why !== undefined) return { is: 'refused', why }
    const answer = await this.offer({ kind: 'command', command })
    switch (answer.is) {
      case 'late':
        return { is: 'failed', why: 'the agent is busy: ask again' }
      case 'slow':
        return { is: 'uncertain', why: 'it was taken up, and takes long' }
      case 'begun':
        return { is: answer.is }
      default:
        return { is: answer.is, why: answer.why }
    }
  }
}
