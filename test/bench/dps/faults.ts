import type { Fault, Faults } from '../hub/faults.ts'
import type { JsonObject } from '../hub/json.ts'
import type { Answer } from './registrations.ts'
import { derOf } from './request.ts'

export type Step = Extract<Fault, { kind: 'provisioning' }>['at']
export type Plan = Extract<Fault, { kind: 'provisioning' }>['do']

/** What an injected fault has planned for this step of this device, if anything. */
export const planFor = (faults: Faults, at: Step, registrationId: string): Plan | undefined =>
  faults.take('provisioning', registrationId, fault => fault.at === at)?.do

/** An answer as it goes out: the body already text. */
export interface Sent {
  readonly status: number
  readonly text: string
  readonly retryAfter?: string
}

export function sent({ status, body, retryAfter }: Answer): Sent {
  return { status, text: JSON.stringify(body), ...(retryAfter !== undefined && { retryAfter: String(retryAfter) }) }
}

/** The answer that a plan puts in place of the right one. Plans that concern the connection leave it alone. */
export function planned(plan: Plan | undefined, answer: Sent): Sent {
  const { retryAfter: _, ...bare } = answer
  if (plan?.do === 'retryAfter') return { ...bare, retryAfter: plan.value }
  if (plan?.do !== 'answer') return answer
  const text = plan.body.padEnd(plan.bytes ?? 0, ' ')
  return {
    status: plan.status ?? answer.status,
    text,
    ...(plan.retryAfter !== undefined && { retryAfter: plan.retryAfter }),
  }
}

/** Changes an outcome `assigned`. `issuer` gives the wrong certificates, each base64 of DER. */
export async function spoiled(plan: Plan | undefined, answer: Answer, issuer: WrongCertificates): Promise<Answer> {
  const state = answer.body.registrationState as JsonObject
  const changed = (changes: JsonObject): Answer => ({
    ...answer,
    body: { ...answer.body, registrationState: { ...state, ...changes } },
  })
  if (plan?.do === 'state') return changed(plan.changes as JsonObject)
  if (plan?.do !== 'certificate') return answer
  const chain = (state.issuedCertificateChain ?? []) as readonly string[]
  if (plan.how === 'noLeaf') return changed({ issuedCertificateChain: chain.slice(1) })
  if (plan.how === 'reversed') return changed({ issuedCertificateChain: chain.toReversed() })
  const leaf = derOf(await issuer(plan.how, String(state.registrationId)))
  return changed({ issuedCertificateChain: [leaf, ...chain.slice(1)] })
}

/** A certificate (PEM) of the right issuer with one flaw. */
export type WrongCertificates = (
  flaw: 'expired' | 'notYetValid' | 'otherName' | 'otherKey',
  registrationId: string,
) => Promise<string>
