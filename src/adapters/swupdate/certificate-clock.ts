import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../../ports/log.ts'

/** Milliseconds between two checks of the clock while waiting. */
const POLL = 2_000

/**
 * SWUpdate checks the clock when it verifies a signature, and reports only that the signature is wrong. So this waits while no
 * certificate in `file` is valid but one will be: a clock that is behind will be set, but a failed deployment would stay failed. A
 * certificate that begins later does not matter while another is valid. Resolves at once for an unreadable file.
 */
export async function untilValid(file: string, log: Log, signal: AbortSignal, onWait = (): void => {}): Promise<void> {
  const all = await validities(file)
  for (let told = false; ; told = true) {
    const now = Date.now()
    const later = all.filter(({ from }) => from > now)
    if (later.length === 0 || all.some(({ from, to }) => from <= now && now <= to)) return
    onWait()
    if (!told) {
      const from = Math.min(...later.map(each => each.from))
      const why = `${file} is not valid before ${iso(from)}, and this device's clock says ${iso(now)}`
      log.warn('clock.waiting', { why: `${why}: waiting for time synchronisation` })
    }
    await sleep(POLL, undefined, { signal }).catch(() => signal.throwIfAborted())
  }
}

/** A hint for a failure; empty while all certificates are valid. It is unknown which of them the bundle needs. */
export async function expiry(file: string): Promise<string> {
  const now = Date.now()
  const all = await validities(file)
  const which = all.length > 1 ? `a certificate in ${file}` : file
  const flaws = all.flatMap(({ from, to }) => {
    if (from > now) return [`${which} is not valid before ${iso(from)}`]
    return to < now ? [`${which} ended on ${iso(to)}`] : []
  })
  return flaws.length > 0 ? `; ${flaws.join(', ')}, and this device's clock says ${iso(now)}` : ''
}

interface Validity {
  readonly from: number
  readonly to: number
}

/** Validity of each certificate in the file; during a change of certificates there are two. */
async function validities(file: string): Promise<Validity[]> {
  try {
    const all = (await readFile(file, 'utf8')).match(PEM) ?? []
    return all.map(pem => {
      const { validFrom, validTo } = new X509Certificate(pem)
      return { from: Date.parse(validFrom), to: Date.parse(validTo) }
    })
  } catch {
    return []
  }
}

const PEM = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g

const iso = (time: number): string => new Date(time).toISOString().slice(0, 19)
