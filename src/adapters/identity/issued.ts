import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import * as v from 'valibot'
import { HubError, messageOf } from '../../domain/errors.ts'
import type { Log } from '../../ports/log.ts'
import { writeAtomically } from '../files/atomic-file.ts'
import { commonName, upwards } from './certificate.ts'

/** A certificate issued by the provisioning service, and its key, which this device generated. PEM; `key` is secret. */
export interface IssuedPair {
  readonly chain: string
  readonly key: string
  /** By this device's clock the certificate was already due for renewal when issued. So the clock is wrong and is ignored. */
  readonly clockWasWrong: boolean
}

/** `next`: not accepted by the hub yet. `current`: accepted, and kept until `next` is accepted. */
export interface Issued {
  readonly registrationId: string
  readonly current: IssuedPair | undefined
  readonly next: IssuedPair | undefined
  /** Why the last renewal came to nothing, in words; absent after a good one. */
  readonly refused?: string | undefined
}

const pair = v.object({ chain: v.string(), key: v.string(), clockWasWrong: v.boolean() })
const schema = v.object({
  version: v.literal(1),
  registrationId: v.string(),
  current: v.exactOptional(v.optional(pair)),
  next: v.exactOptional(v.optional(pair)),
  refused: v.exactOptional(v.optional(v.string())),
})

/** Both pairs in one file, so that each change is atomic, even in a power cut. */
export class IssuedFile {
  readonly #file: string
  readonly #log: Log

  constructor(folder: string, log: Log) {
    this.#file = join(folder, 'issued.json')
    this.#log = log
  }

  /**
   * Undefined if there is no usable certificate; another one is then issued. Errors: HubError if the file cannot be read now: a
   * good pair may be in it.
   */
  async read(): Promise<Issued | undefined> {
    const text = await readFile(this.#file, 'utf8').catch(cause => {
      if (cause.code === 'ENOENT') return undefined
      throw new HubError(`cannot read ${this.#file}: ${cause.code}`, { cause })
    })
    if (text === undefined) return undefined
    try {
      const { registrationId, current, next, refused } = v.parse(schema, JSON.parse(text))
      return { registrationId, current: usable(current), next: usable(next), refused }
    } catch {
      // The library's message would quote the file, which holds a key.
      this.#log.warn('identity.issued-unreadable', { file: this.#file, why: 'damaged' })
      return undefined
    }
  }

  /** If it cannot be written, only this process remembers it. */
  async write(issued: Issued): Promise<void> {
    try {
      await writeAtomically(this.#file, `${JSON.stringify({ version: 1, ...issued })}\n`)
    } catch (error) {
      this.#log.error('identity.issued-not-written', { file: this.#file, why: messageOf(error) })
    }
  }
}

function usable(each: IssuedPair | undefined): IssuedPair | undefined {
  try {
    return each && leafOf(each).checkPrivateKey(createPrivateKey(each.key)) ? each : undefined
  } catch {
    return undefined
  }
}

export const leafOf = ({ chain }: IssuedPair): X509Certificate => new X509Certificate(chain)

/** Chains have three or four certificates. */
const MAX_CHAIN = 10

/**
 * The pair of `key` and the chain issued for it (base64 of DER, in any order); a string is the reason to refuse it. Dates are
 * not checked: only the hub's clock counts.
 */
export function issuedPair(
  answer: readonly string[] | undefined,
  key: KeyObject,
  registrationId: string,
  now: Date,
): IssuedPair | string {
  if (!answer || answer.length === 0) return 'issued no certificate: does the enrollment name a credential policy?'
  if (answer.length > MAX_CHAIN) return `issued a chain of ${answer.length} certificates`
  let all: readonly X509Certificate[]
  try {
    all = answer.map(each => new X509Certificate(Buffer.from(each, 'base64')))
  } catch {
    return 'issued something that is not a certificate'
  }
  const leaf = all.find(each => each.checkPrivateKey(key))
  if (!leaf) return "issued no certificate for this device's key"
  if (commonName(leaf)?.toLowerCase() !== registrationId) {
    return 'issued a certificate with another name than the registration id'
  }
  const chain = upwards(leaf, all).join('')
  const made = { chain, key: key.export({ type: 'pkcs8', format: 'pem' }).toString(), clockWasWrong: false }
  return { ...made, clockWasWrong: isDue(made, now) }
}

/** Whether the pair should be renewed: between 75 and 80 % of its life, to spread the load of a fleet. */
export function isDue(issued: IssuedPair, now: Date): boolean {
  if (issued.clockWasWrong) return false
  const { validFrom, validTo, fingerprint256 } = leafOf(issued)
  const [from, to] = [Date.parse(validFrom), Date.parse(validTo)]
  const share = 0.75 + (Number.parseInt(fingerprint256.slice(0, 2), 16) / 255) * 0.05
  return now.getTime() >= from + (to - from) * share
}
