import type { FirmwareOrder, MethodRequest } from './domain/deployment.ts'
import { messageOf } from './domain/errors.ts'
import type { MethodAnswer, Ports } from './ports.ts'
import { CallRefused, type FirmwarePolicy, readFirmwareCall } from './trust/firmware-call.ts'

export interface MethodPolicy {
  readonly firmwareUpdate: FirmwarePolicy
  readonly reboot: { readonly enabled: boolean }
}

/** Milliseconds that the loop has to take a call up; callers of the tutorials wait for 30 s. */
const PATIENCE = 20_000

/**
 * Direct methods as the loop sees them: one request at a time that it takes up, or has in its way. The caller hears 200
 * only when the request is in the journal and the twin says `waiting`: so who then polls sees no earlier run.
 */
export class MethodSide {
  readonly #ports: Pick<Ports, 'clock' | 'log'>
  readonly #policy: MethodPolicy
  readonly #busy: () => string | undefined
  readonly #onRequest: () => void
  #waiting: { readonly request: MethodRequest; readonly settle: (answer: MethodAnswer) => void } | undefined

  /** `busy` says what is in the way now; `onRequest` is called when there is something to take up. */
  constructor(
    ports: Pick<Ports, 'clock' | 'log'>,
    policy: MethodPolicy,
    busy: () => string | undefined,
    onRequest: () => void,
  ) {
    this.#ports = ports
    this.#policy = policy
    this.#busy = busy
    this.#onRequest = onRequest
  }

  get request(): MethodRequest | undefined {
    return this.#waiting?.request
  }

  /** Ends the waiting of the caller of `request`. */
  settle(status: number, payload: string): void {
    this.#waiting?.settle({ status, payload })
    this.#waiting = undefined
  }

  /** Answers every call, and never throws: what is sent from outside must not end the agent. */
  async call(name: string, payload: unknown): Promise<MethodAnswer> {
    const { log } = this.#ports
    const answer = await this.#answer(name, payload).catch((error): MethodAnswer => {
      if (error instanceof CallRefused) return { status: 400, payload: sentence(error.message) }
      log.error('method.bug', { method: name, why: messageOf(error), stack: error?.stack })
      return { status: 500, payload: 'The agent has a fault here: see its log.' }
    })
    log.info('method', { method: name, status: answer.status, answer: answer.payload })
    return answer
  }

  async #answer(name: string, payload: unknown): Promise<MethodAnswer> {
    const setting = name === 'reboot' ? 'reboot' : 'firmwareUpdate'
    if (!this.#policy[setting].enabled) {
      const text = `${name} is switched off on this device (piAdu.${setting}.enabled).`
      return { status: 403, payload: text }
    }
    const request = name === 'reboot' ? ({ kind: 'restart' } as const) : this.#order(payload)
    const busy = this.#waiting ? 'another call is being taken up' : this.#busy()
    if (busy !== undefined) return { status: 409, payload: sentence(busy) }
    return this.#takenUp(request)
  }

  #order(payload: unknown): FirmwareOrder {
    const update = readFirmwareCall(payload, this.#policy.firmwareUpdate)
    const id = `firmwareUpdate-${this.#ports.clock.now().toISOString().replaceAll(':', '')}`
    return { kind: 'firmware', workflow: { action: 3, id }, fingerprint: `method ${JSON.stringify(update)}`, update }
  }

  #takenUp(request: MethodRequest): Promise<MethodAnswer> {
    return new Promise(resolve => {
      const taken = new AbortController()
      const settle = (answer: MethodAnswer): void => {
        taken.abort()
        resolve(answer)
      }
      const waiting = { request, settle }
      this.#waiting = waiting
      this.#ports.clock.sleep(PATIENCE, taken.signal).then(
        () => {
          if (this.#waiting === waiting) this.settle(503, 'The agent is busy: nothing was begun, call again.')
        },
        () => {},
      )
      this.#onRequest()
    })
  }
}

/** Names of members, such as fwPackageUri, stay as they are. */
const sentence = (text: string): string => `${text.replace(/^[a-z](?=[a-z]* )/, first => first.toUpperCase())}.`
