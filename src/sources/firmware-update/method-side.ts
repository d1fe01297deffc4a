import type { OnceDeployment, Request } from '../../domain/deployment.ts'
import { messageOf } from '../../domain/errors.ts'
import type { MethodAnswer } from '../../ports/hub.ts'
import type { Ports } from '../../ports/ports.ts'
import { CallRefused, type FirmwarePolicy, readFirmwareCall } from '../../trust/firmware-call.ts'
import type { Loop, OnceSource, Outcome } from '../once-source.ts'
import { type Answer, OneRequest } from '../one-request.ts'

export interface MethodPolicy {
  readonly firmwareUpdate: FirmwarePolicy
  readonly reboot: { readonly enabled: boolean }
}

const ORIGIN = 'firmwareUpdate'

/** The direct methods of the tutorials that predate Device Update. */
const METHODS: readonly string[] = ['firmwareUpdate', 'reboot']

/**
 * Direct methods as the loop sees them: one request at a time, which it accepts or refuses. The caller gets 200 only when
 * the request is in the journal and the twin shows `waiting`, so a caller that polls from then on sees no earlier run.
 */
export class MethodSide implements OnceSource {
  readonly #ports: Pick<Ports, 'clock' | 'log'>
  readonly #policy: MethodPolicy
  readonly #loop: Loop
  readonly #one: OneRequest

  constructor(ports: Pick<Ports, 'clock' | 'log'>, policy: MethodPolicy, loop: Loop) {
    this.#ports = ports
    this.#policy = policy
    this.#loop = loop
    this.#one = new OneRequest(ports.clock, loop)
  }

  get request(): Request | undefined {
    return this.#one.request
  }

  take(request: Request): boolean {
    return this.#one.take(request)
  }

  settle(request: Request, outcome: Outcome): void {
    this.#one.settle(request, outcome)
  }

  /** Answers every call and never throws: input from outside must not end the agent. */
  async call(name: string, payload: unknown): Promise<MethodAnswer> {
    const { log } = this.#ports
    const answer = await this.#answer(name, payload).catch((error): MethodAnswer => {
      if (error instanceof CallRefused) return { status: 400, payload: sentence(error.message) }
      log.error('method.bug', { method: name, why: messageOf(error), stack: error?.stack })
      return { status: 500, payload: 'The agent has a fault here: see its log.' }
    })
    log.info('method', { method: name.slice(0, 100), status: answer.status, answer: answer.payload })
    return answer
  }

  async #answer(name: string, payload: unknown): Promise<MethodAnswer> {
    if (!METHODS.includes(name)) {
      const shown = JSON.stringify(name.replace(/[^\x20-\x7e]/g, '?').slice(0, 100))
      return { status: 404, payload: `${shown} is not a method of this device, which has: ${METHODS.join(', ')}.` }
    }
    const setting = name === 'reboot' ? 'reboot' : 'firmwareUpdate'
    if (!this.#policy[setting].enabled) {
      const text = `${name} is switched off on this device (piAdu.${setting}.enabled).`
      return { status: 403, payload: text }
    }
    const request = name === 'reboot' ? ({ kind: 'reboot', origin: ORIGIN } as const) : this.#deployment(payload)
    const busy = this.#one.request ? 'another call is being taken up' : this.#loop.busy()
    if (busy !== undefined) return { status: 409, payload: sentence(busy) }
    return answerTo(request, await this.#one.offer(request))
  }

  #deployment(payload: unknown): OnceDeployment {
    const update = readFirmwareCall(payload, this.#policy.firmwareUpdate)
    const id = `firmwareUpdate-${this.#ports.clock.now().toISOString().replaceAll(':', '')}`
    const fingerprint = `method ${JSON.stringify(update)}`
    return { kind: 'once', origin: ORIGIN, workflow: { action: 3, id }, fingerprint, update }
  }
}

/** The answers of the tutorials, and refusals that their callers understand. */
function answerTo(request: Request, outcome: Answer): MethodAnswer {
  switch (outcome.is) {
    case 'begun':
      return { status: 200, payload: request.kind === 'reboot' ? 'Reboot started' : 'FirmwareUpdate started' }
    case 'refused':
      return { status: 409, payload: `Refused: ${outcome.why}.` }
    case 'failed':
      return { status: 503, payload: `Nothing was begun: ${outcome.why}.` }
    case 'slow':
      return { status: 202, payload: 'This takes long: the reported properties say how it goes on.' }
    case 'late':
      return { status: 503, payload: 'The agent is busy: nothing was begun, call again.' }
    case 'uncertain': {
      const text = 'The agent cannot say whether this was begun; the reported properties will'
      return { status: 500, payload: `${text}: ${outcome.why}.` }
    }
  }
}

/** Capitalises a message and adds a full stop. A leading member name, such as fwPackageUri, keeps its case. */
const sentence = (text: string): string => `${text.replace(/^[a-z](?=[a-z]* )/, first => first.toUpperCase())}.`
