import { AgentError, ContentError, HubError, ProcessError } from '../../src/domain/errors.ts'
import type { Contract, Throws } from '../../src/ports/contract.ts'
import { CONTRACTS } from '../../src/ports/ports.ts'

/** What this member of a port, or of what the port gives, may throw by its contract. */
export function throwsOf(port: string, member: string): Throws {
  const contract: Contract<Record<string, () => Promise<unknown>>> = CONTRACTS[port as keyof typeof CONTRACTS]
  const throws = contract[member]
  if (!throws) throw new Error(`${port}.${member} takes time, and no contract says what it throws`)
  return throws
}

/** The first error that the contract allows, as an adapter would make it; undefined for what never throws. */
export function injected(port: string, member: string, message: string): Error | undefined {
  const [first] = throwsOf(port, member)
  if (first === undefined) return undefined
  if (first === 'HubError') return new HubError(message)
  if (first === 'ContentError') return new ContentError(message, 'backOff')
  if (first === 'SWUPDATE_FAILED') return new ProcessError(first, message, ['swupdate'], 1)
  return new AgentError(first, message)
}
