import type { X509Certificate } from 'node:crypto'
import type { Log } from '../../ports/log.ts'

const DAY = 86_400_000
/** How long before the end a warning begins; for a short-lived certificate, a fifth of its life. */
const NOTICE = 30 * DAY

/** A clause if the certificate expires soon or has expired, by this device's clock; otherwise undefined. */
export function nearingEnd({ validFrom, validTo }: X509Certificate, now: Date): string | undefined {
  const [from, to] = [Date.parse(validFrom), Date.parse(validTo)]
  const left = to - now.getTime()
  if (left > Math.min(NOTICE, (to - from) / 5)) return undefined
  const date = new Date(to).toISOString().slice(0, 10)
  if (left < 0) return `ended on ${date}, by this device's clock`
  const days = Math.floor(left / DAY)
  if (days === 0) return `ends within a day, on ${date}`
  return `ends in ${days} day${days === 1 ? '' : 's'}, on ${date}`
}

/** Logs the warning, at most once a day. */
export class EndWarning {
  readonly #log: Log
  #last = Number.NEGATIVE_INFINITY

  constructor(log: Log) {
    this.#log = log
  }

  see(leaf: X509Certificate, now = new Date()): void {
    const says = nearingEnd(leaf, now)
    if (says === undefined || Math.abs(now.getTime() - this.#last) < DAY) return
    this.#last = now.getTime()
    const sha256 = leaf.fingerprint256.replaceAll(':', '')
    this.#log.warn('identity.certificate-ends', { why: `the certificate of this device ${says}`, sha256 })
  }
}
