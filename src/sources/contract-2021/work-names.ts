import type { Attempt } from '../../domain/attempt.ts'
import type { Allowed } from '../../domain/deployment.ts'
import { RESULT_CODE } from '../../domain/result-codes.ts'
import type { Ports } from '../../ports/ports.ts'
import { fingerprintOf } from '../../trust/judge.ts'
import type { NameWork } from '../twin-contract.ts'

/** What an order is about. */
export interface Order {
  readonly fingerprint: string
  readonly allowed: Allowed
}

const RANK: Readonly<Record<Allowed, number>> = { download: 0, install: 1, apply: 2 }

/** Whether `order` is about the same work as the one before it: the same manifest, and not from the beginning again. Pure. */
export const goesOn = (order: Order, before: Order): boolean =>
  order.fingerprint === before.fingerprint && RANK[order.allowed] >= RANK[before.allowed]

/** Whether the first order of a process is about the journal's attempt: that one was not cancelled, nor came further. Pure. */
export function continues(order: Order, attempt: Attempt): boolean {
  if (attempt.cancelledBy !== undefined) return false
  const isApplied = attempt.result?.resultCode === RESULT_CODE.applied
  const allowed = isApplied ? 'apply' : (attempt.reached ?? 'download')
  return goesOn(order, { fingerprint: attempt.fingerprint, allowed })
}

/** The reference's names: a time stamp without separators, and with milliseconds. */
export const stampOf = (milliseconds: number): string =>
  new Date(milliseconds).toISOString().slice(2).replace(/\D/g, '')

/**
 * This contract has no workflow id, so the work gets a local name. An order keeps the name for as long as it continues the work
 * of the one before it; after a cancel, or from the beginning again, the work is new. Only the first order of a process
 * needs the journal.
 */
export function workNames({ journal, clock }: Pick<Ports, 'journal' | 'clock'>): NameWork {
  let last: { readonly order: Order | undefined; readonly name: () => Promise<string> } | undefined
  let newest = 0

  /** Never `not`, whatever the clock says. */
  const newName = (not?: string): string => {
    newest = Math.max(newest + 1, clock.now().getTime())
    const name = stampOf(newest)
    return name === not ? newName() : name
  }

  function nameOf(order: Order): () => Promise<string> {
    if (last) {
      if (last.order && goesOn(order, last.order)) return last.name
      const name = newName()
      return async () => name
    }
    let known: string | undefined
    return async () => {
      if (known !== undefined) return known
      const content = await journal.read()
      const attempt = content.is === 'attempt' ? content.attempt : undefined
      known ??= attempt && continues(order, attempt) ? attempt.workflow.id : newName(attempt?.workflow.id)
      return known
    }
  }

  return service => {
    const { allowed } = service
    if (!allowed) {
      last = { order: undefined, name: async () => service.workflow.id }
      return async () => service
    }
    const order = { fingerprint: fingerprintOf(service), allowed }
    const name = nameOf(order)
    last = { order, name }
    return async () => ({ ...service, workflow: { ...service.workflow, id: await name() } })
  }
}
