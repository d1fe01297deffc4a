import type { Request } from '../domain/deployment.ts'
import { AgentError } from '../domain/errors.ts'
import type { Journal } from '../ports/journal.ts'
import type { Outcome } from '../sources/once-source.ts'

/** The answer to a request whose action has failed. A write that failed may have reached the disk all the same; the loop then continues from it. */
export async function outcomeOf(
  journal: Pick<Journal, 'read'>,
  request: Request,
  { message: why }: Error,
): Promise<Outcome> {
  if (request.kind === 'reboot') return { is: 'failed', why }
  if (request.kind === 'command') return { is: 'uncertain', why }
  try {
    const content = await journal.read()
    const isBegun = content.is === 'attempt' && content.attempt.workflow.id === request.workflow.id
    return isBegun ? { is: 'begun' } : { is: content.is === 'lost' ? 'uncertain' : 'failed', why }
  } catch (error) {
    if (error instanceof AgentError) return { is: 'uncertain', why }
    throw error
  }
}
