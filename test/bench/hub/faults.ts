import * as v from 'valibot'
import { invalidArgument } from './errors.ts'

/**
 * Trouble on demand. A fault with `deviceId` concerns that device only. `times` counts how often an armed fault strikes
 * (default once). The last column names what each fault brings to light, as headings of
 * PROTOCOL.md.
 *
 * | kind | what happens | shows |
 * |---|---|---|
 * | `dropSockets` | live connections end without a word, now | Lost connections, Silent twin calls |
 * | `blackHole` | live connections, and the next `times` new ones, stay open; nothing is answered any more | Silent twin calls, Closing |
 * | `refuseConnections` | the next connections fail: by reset, by CONNACK 5 or 3, or at TLS when the client shows a certificate | First connection errors |
 * | `expireTokens` | live connections, and the next `times` new ones, end as if the token had expired `afterMs` ago | Connection |
 * | `forgetSessions` | remembered subscriptions are gone: at the next connection no session is present | Lost subscriptions |
 * | `twinAnswer` | the next twin answer is lost, late, or an error (429 with or without body, broken JSON) | Twin errors |
 * | `loseDesired` | the next desired patch is not delivered | Lost connections |
 * | `duplicatePublish` | the next publish to a device arrives twice | Repeated reads |
 * | `closeOnMethod` | the connection ends just before or just after the next method call is delivered | Method calls |
 * | `failRest` | the next REST calls get this status, a reset, no answer at all, or are carried out and then reset (`lose`) | Service SDK |
 * | `provisioning` | one step of a registration (`connect`, `subscribe`, `register`, `poll`) is cut, lost, refused, late or answered wrongly; or the outcome `assigned` has other members or a wrong certificate | |
 */
const who = { deviceId: v.optional(v.string()) }
const milliseconds = v.pipe(v.number(), v.minValue(0), v.maxValue(2 ** 31 - 1))
const often = v.optional(v.union([v.pipe(v.number(), v.integer(), v.minValue(0)), v.literal('always')]))

const faultSchema = v.variant('kind', [
  v.object({ kind: v.literal('dropSockets'), ...who }),
  v.object({ kind: v.literal('forgetSessions'), ...who }),
  v.object({ kind: v.literal('blackHole'), ...who, times: often }),
  v.object({ kind: v.literal('expireTokens'), ...who, times: often, afterMs: v.optional(milliseconds) }),
  v.object({
    kind: v.literal('refuseConnections'),
    ...who,
    times: often,
    how: v.optional(v.picklist(['reset', 'notAuthorized', 'unavailable', 'certificate'])),
  }),
  v.object({
    kind: v.literal('twinAnswer'),
    ...who,
    times: often,
    to: v.optional(v.picklist(['get', 'patch'])),
    do: v.variant('do', [
      v.object({ do: v.literal('lose') }),
      v.object({ do: v.literal('delay'), ms: milliseconds }),
      v.object({
        do: v.literal('fail'),
        status: v.pipe(v.number(), v.integer(), v.minValue(400), v.maxValue(599)),
        body: v.optional(v.picklist(['json', 'empty', 'malformed'])),
      }),
    ]),
  }),
  v.object({ kind: v.literal('loseDesired'), ...who, times: often }),
  v.object({ kind: v.literal('duplicatePublish'), ...who, times: often }),
  v.object({
    kind: v.literal('closeOnMethod'),
    ...who,
    times: often,
    when: v.optional(v.picklist(['beforeDelivery', 'afterDelivery'])),
  }),
  v.object({
    kind: v.literal('failRest'),
    times: often,
    /** Only calls whose path begins so. */
    path: v.optional(v.string()),
    how: v.union([
      v.pipe(v.number(), v.integer(), v.minValue(400), v.maxValue(599)),
      v.picklist(['reset', 'hang', 'lose']),
    ]),
  }),
  v.object({
    kind: v.literal('provisioning'),
    /** The registration id, in lower case. */
    ...who,
    times: often,
    at: v.picklist(['connect', 'subscribe', 'register', 'poll', 'assigned']),
    do: v.variant('do', [
      v.object({ do: v.literal('cut') }),
      v.object({ do: v.literal('cutAfter') }),
      v.object({ do: v.literal('lose') }),
      /** CONNACK with `code` (default 5), or SUBACK 128. */
      v.object({ do: v.literal('refuse'), code: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1))) }),
      v.object({ do: v.literal('delay'), ms: milliseconds }),
      v.object({ do: v.literal('otherRid') }),
      v.object({ do: v.literal('retryAfter'), value: v.string() }),
      v.object({
        do: v.literal('fail'),
        status: v.pipe(v.number(), v.integer(), v.minValue(400), v.maxValue(599)),
        errorCode: v.optional(v.number()),
        retryAfter: v.optional(v.string()),
      }),
      /** Any text in place of the body, with blanks up to `bytes`. */
      v.object({
        do: v.literal('answer'),
        body: v.string(),
        bytes: v.optional(v.number()),
        status: v.optional(v.number()),
        retryAfter: v.optional(v.string()),
      }),
      /** Members of `registrationState`. */
      v.object({ do: v.literal('state'), changes: v.record(v.string(), v.unknown()) }),
      v.object({
        do: v.literal('certificate'),
        how: v.picklist(['expired', 'notYetValid', 'otherName', 'otherKey', 'noLeaf', 'reversed']),
      }),
    ]),
  }),
])

export type Fault = v.InferOutput<typeof faultSchema>
export type FaultKind = Fault['kind']
type FaultOf<K extends FaultKind> = Extract<Fault, { kind: K }>

/** Kinds that strike connections live at the moment of `inject`; the last two strike later ones only if `times` says so. */
const IMMEDIATE: readonly FaultKind[] = ['dropSockets', 'forgetSessions', 'blackHole', 'expireTokens']

const MAX_ARMED = 1000

export class Faults {
  #armed: { fault: Fault; left: number }[] = []
  readonly #strike: (fault: Fault) => void

  /** `strike` performs the immediate part of a fault. */
  constructor(strike: (fault: Fault) => void) {
    this.#strike = strike
  }

  inject(fault: Fault): void {
    const immediate = IMMEDIATE.includes(fault.kind)
    const times = 'times' in fault && fault.times !== undefined ? fault.times : immediate ? 0 : 1
    const left = times === 'always' ? Number.POSITIVE_INFINITY : times
    if (this.#armed.length >= MAX_ARMED) throw invalidArgument(`more than ${MAX_ARMED} armed faults`)
    if (left > 0) this.#armed.push({ fault, left })
    if (immediate) this.#strike(fault)
  }

  /** As `inject`, from outside. Throws HubError (400) for a value that is not a fault. */
  injectUnknown(value: unknown): void {
    const parsed = v.safeParse(faultSchema, value)
    if (!parsed.success) throw invalidArgument(`no such fault: ${v.summarize(parsed.issues)}`)
    this.inject(parsed.output)
  }

  /** Disarms all, or all of one kind. Connections already in a black hole stay there. */
  clear(kind?: FaultKind): void {
    this.#armed = this.#armed.filter(({ fault }) => kind !== undefined && fault.kind !== kind)
  }

  armed(): readonly Fault[] {
    return this.#armed.map(({ fault }) => fault)
  }

  /** The oldest armed fault of this kind that fits, used up by one. */
  take<K extends FaultKind>(
    kind: K,
    deviceId?: string,
    fits: (fault: FaultOf<K>) => boolean = () => true,
  ): FaultOf<K> | undefined {
    const found = this.#armed.find(
      ({ fault }) => fault.kind === kind && concerns(fault, deviceId) && fits(fault as FaultOf<K>),
    )
    if (!found) return undefined
    found.left -= 1
    if (found.left <= 0) this.#armed = this.#armed.filter(entry => entry !== found)
    return found.fault as FaultOf<K>
  }
}

/** Does a fault without a device, or with this one, apply? */
export const concerns = (fault: Fault, deviceId: string | undefined) =>
  !('deviceId' in fault) || fault.deviceId === undefined || fault.deviceId === deviceId
