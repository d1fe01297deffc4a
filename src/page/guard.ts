import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'

/** What a request must not be: a page of a stranger that uses somebody's browser. All pure. */

export interface Objection {
  /** HTTP status. */
  readonly status: number
  readonly why: string
}

type Asked = Pick<IncomingMessage, 'method' | 'url' | 'headers'>

/**
 * Why a request is refused; undefined when it may be answered. The Host header must be an IP address or one of `names`, because a
 * stranger's name can be made to lead here (DNS rebinding). What is not the page itself must come from the page (Fetch Metadata), and what
 * changes something must say so in its Origin (RFC 6454).
 */
export function objectionTo({ method, url, headers }: Asked, names: ReadonlySet<string>): Objection | undefined {
  const { host = '', origin } = headers
  if (!isOwnHost(host, names)) {
    return {
      status: 421,
      why: 'this name is not one of the device: use its IP address, or add the name to piAdu.page.names',
    }
  }
  const site = headers['sec-fetch-site']
  const isPage = method === 'GET' && url === '/'
  if (!isPage && site !== undefined && site !== 'same-origin' && site !== 'none') return FOREIGN
  if (method !== 'GET' && method !== 'HEAD' && origin?.toLowerCase() !== `http://${host.toLowerCase()}`) return FOREIGN
  return undefined
}

const FOREIGN: Objection = { status: 403, why: 'this request does not come from the page of this device' }

function isOwnHost(host: string, names: ReadonlySet<string>): boolean {
  const name = host.replace(/:\d{1,5}$/, '').toLowerCase()
  if (isIP(name.replace(/^\[(.*)\]$/, '$1')) !== 0) return true
  return names.has(name.replace(/\.$/, ''))
}

/** The wrong PIN with this number begins the first lock-out. Its length in seconds doubles with each further one. */
const LOCKS_AT = 5
const LOCKED = 60
const LOCKED_AT_MOST = 3600
/** Seconds after which wrong PINs are forgotten. */
const FORGOTTEN = 86_400

export type Verdict =
  | { readonly is: 'right' }
  | { readonly is: 'wrong' }
  /** For `seconds` no PIN is looked at. `began`: with this wrong one; otherwise this one was not looked at either. */
  | { readonly is: 'locked'; readonly seconds: number; readonly began: boolean }

/** Compares PINs in constant time, and locks everybody out after a few wrong ones: at most about 30 guesses a day. */
export class PinCheck {
  readonly #pin: Buffer
  readonly #now: () => number
  #wrong = 0
  #last = 0
  #lockedUntil = 0

  /** `now`: seconds of a clock that does not jump. */
  constructor(pin: string, now: () => number) {
    this.#pin = digest(pin)
    this.#now = now
  }

  check(given: string): Verdict {
    const now = this.#now()
    if (now < this.#lockedUntil) return { is: 'locked', seconds: Math.ceil(this.#lockedUntil - now), began: false }
    if (now - this.#last > FORGOTTEN) this.#wrong = 0
    if (timingSafeEqual(digest(given), this.#pin)) {
      this.#wrong = 0
      return { is: 'right' }
    }
    this.#wrong += 1
    this.#last = now
    if (this.#wrong < LOCKS_AT) return { is: 'wrong' }
    const seconds = Math.min(LOCKED * 2 ** (this.#wrong - LOCKS_AT), LOCKED_AT_MOST)
    this.#lockedUntil = now + seconds
    return { is: 'locked', seconds, began: true }
  }
}

/** Texts of any length have one length as digests. */
const digest = (text: string): Buffer => createHash('sha256').update(text).digest()
