import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../ports.ts'

/** Between two looks at a clock that is waited for, in milliseconds. */
const POLL = 2_000

/**
 * SWUpdate looks at the clock when it verifies a signature, and says no more than that the signature is wrong. Waits while
 * the certificate in `file` is not valid yet: a clock that is behind will be set, but a deployment that failed would stay
 * failed. Resolves at once for a file that says nothing.
 */
export async function untilValid(file: string, log: Log, signal: AbortSignal): Promise<void> {
  const { from } = await validity(file)
  for (let told = false; Date.now() < from; told = true) {
    if (!told) {
      const why = `${file} is not valid before ${iso(from)}, and this device's clock says ${iso(Date.now())}`
      log.warn('clock.waiting', { why: `${why}: waiting for time synchronisation` })
    }
    await sleep(POLL, undefined, { signal }).catch(() => signal.throwIfAborted())
  }
}

/** To be added to a failure; empty while the certificate has not ended. */
export async function expiry(file: string): Promise<string> {
  const { to } = await validity(file)
  const now = Date.now()
  return now > to ? `; ${file} ended on ${iso(to)}, and this device's clock says ${iso(now)}` : ''
}

/** Of all certificates in the file together: while a new one takes over from an old one there are two. */
async function validity(file: string): Promise<{ from: number; to: number }> {
  try {
    const all = (await readFile(file, 'utf8')).match(PEM) ?? []
    const certificates = all.map(pem => new X509Certificate(pem))
    return {
      from: Math.max(...certificates.map(({ validFrom }) => Date.parse(validFrom))),
      to: Math.min(...certificates.map(({ validTo }) => Date.parse(validTo))),
    }
  } catch {
    return { from: Number.NaN, to: Number.NaN }
  }
}

const PEM = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g

const iso = (time: number): string => new Date(time).toISOString().slice(0, 19)
