import { HubError, messageOf } from '../../domain/errors.ts'
import type { Clock } from '../../ports/clock.ts'
import type { Events } from '../../ports/events.ts'
import type { CertificateAuth, HubOutcome } from '../../ports/identity.ts'
import type { Log } from '../../ports/log.ts'
import { EndWarning } from './certificate-end.ts'
import { type Issued, IssuedFile, type IssuedPair, isDue, issuedPair, leafOf } from './issued.ts'
import { certificateRequest, newPrivateKey } from './request.ts'

/** How often the hub may refuse a new certificate before the old one is used again. */
const REFUSALS = 3
/** Milliseconds until another renewal after the hub has refused a new certificate. */
const PAUSE = 24 * 3_600_000

/** Milliseconds after which a file that cannot be read counts as lost: its card may be worn, and a new pair is written elsewhere. */
const UNREADABLE_FOR = 3_600_000

/** A certificate request in progress. */
export interface CertificateOrder {
  readonly csr: string
  /** Takes the issued chain; returns the reason if it cannot be used. */
  take(chain: readonly string[] | undefined): Promise<string | undefined>
}

/** The certificate issued by the provisioning service. Each has a new key, and the old one is kept until the hub accepts it. */
export class Issuing {
  readonly #file: Pick<IssuedFile, 'read' | 'write'>
  readonly #clock: Pick<Clock, 'now' | 'monotonic'>
  readonly #log: Log
  readonly #events: Pick<Events, 'tell'>
  readonly #end: EndWarning
  #issued: Issued | undefined
  #isRead = false
  #unreadableSince: number | undefined
  /** What the last `get` returned. */
  #given: IssuedPair | undefined
  /** A server may drop a certificate without a word, which looks like a dead network. So the accepted one has every second attempt. */
  #isCurrentsTurn = false
  #refusals = 0
  #pausedUntil = 0
  /** Why the last renewal came to nothing. */
  #refused: string | undefined

  constructor(
    file: Pick<IssuedFile, 'read' | 'write'>,
    clock: Pick<Clock, 'now' | 'monotonic'>,
    log: Log,
    events: Pick<Events, 'tell'>,
  ) {
    this.#file = file
    this.#clock = clock
    this.#log = log
    this.#events = events
    this.#end = new EndWarning(log)
  }

  /** `renew`: it is due for renewal. `refused`: and could not be renewed, and no new one is to be tried. Errors: HubError if what is stored cannot be read now. */
  async get(
    registrationId: string,
  ): Promise<{ readonly auth: CertificateAuth; readonly renew: boolean; readonly refused: boolean } | undefined> {
    await this.#read()
    this.#given = undefined
    // A certificate for another registration id belongs to another device.
    if (this.#issued?.registrationId !== registrationId) return undefined
    const { current, next } = this.#issued
    const newest = next ?? current
    if (!newest) return undefined
    this.#given = (this.#isCurrentsTurn && current) || newest
    this.#end.see(leafOf(this.#given), this.#clock.now())
    const isPaused = this.#clock.monotonic() < this.#pausedUntil
    const renew = !isPaused && isDue(newest, this.#clock.now())
    return { auth: authOf(this.#given), renew, refused: this.#refused !== undefined && next === undefined }
  }

  /** The service issued none, or none that can be used. The certificate in use stays. */
  renewalFailed(why: string): void {
    const { current, next } = this.#issued ?? {}
    const inUse = next ?? current
    // Without one it is not a renewal, and the device has no connection.
    if (inUse) this.#refuse(`${why}; the old certificate stays in use until ${leafOf(inUse).validTo}`)
  }

  #refuse(why: string | undefined): void {
    if (why === this.#refused) return
    this.#refused = why
    this.#events.tell(why === undefined ? { event: 'identity.renewed' } : { event: 'identity.renewal-refused', why })
  }

  order(registrationId: string): CertificateOrder {
    const key = newPrivateKey()
    return {
      csr: certificateRequest(registrationId, key),
      take: async chain => {
        const pair = issuedPair(chain, key, registrationId, this.#clock.now())
        if (typeof pair === 'string') return pair
        await this.#read()
        const current = this.#issued?.registrationId === registrationId ? this.#issued.current : undefined
        this.#issued = { registrationId, current, next: pair }
        this.#refusals = 0
        this.#isCurrentsTurn = false
        await this.#file.write(this.#issued)
        const { validTo, fingerprint256 } = leafOf(pair)
        this.#log.info('identity.issued', {
          registrationId,
          sha256: fingerprint256.replaceAll(':', ''),
          until: validTo,
        })
        return undefined
      },
    }
  }

  async #read(): Promise<void> {
    if (this.#isRead) return
    this.#issued = await this.#file.read().catch(error => {
      const now = this.#clock.monotonic()
      this.#unreadableSince ??= now
      if (now - this.#unreadableSince < UNREADABLE_FOR) {
        throw new HubError(`no identity: ${messageOf(error)}`, { cause: error })
      }
      this.#log.error('identity.issued-lost', { why: messageOf(error) })
      return undefined
    })
    this.#isRead = true
    this.#refuse(this.#issued?.refused)
  }

  /** Whether the hub has finally refused a new certificate, so that the old one is in use again. */
  async tried(outcome: HubOutcome): Promise<boolean> {
    const { registrationId, current, next } = this.#issued ?? {}
    const wasNext = this.#given === next
    this.#isCurrentsTurn = wasNext && outcome === 'unreachable'
    if (registrationId === undefined || !next || !wasNext || outcome === 'unreachable') return false
    if (outcome === 'connected') {
      this.#issued = { registrationId, current: next, next: undefined }
      await this.#file.write(this.#issued)
      this.#refuse(undefined)
      return false
    }
    this.#refusals += 1
    // Without an old certificate there is nothing to go back to; the next registration issues another.
    if (this.#refusals < REFUSALS || !current) return false
    const why = `the hub refused the renewed certificate ${REFUSALS} times; the old one stays in use until ${leafOf(current).validTo}`
    this.#issued = { registrationId, current, next: undefined, refused: why }
    await this.#file.write(this.#issued)
    this.#pausedUntil = this.#clock.monotonic() + PAUSE
    this.#refuse(why)
    return true
  }
}

export const issuingIn = (folder: string, clock: Clock, log: Log, events: Pick<Events, 'tell'>): Issuing =>
  new Issuing(new IssuedFile(folder, log), clock, log, events)

const authOf = ({ chain, key }: IssuedPair): CertificateAuth => ({ kind: 'x509', chain, key, passphrase: undefined })
