import { AgentError } from '../domain/errors.ts'
import { EXTENDED_RESULT_CODE, ercText } from '../domain/result-codes.ts'
import type { Ports } from '../ports.ts'
import type { KeyRing } from '../trust/keys.ts'
import {
  type Anchors,
  compareAge,
  MAX_PACKAGE_BYTES,
  type RootKeyPackage,
  readRootKeyPackage,
} from '../trust/root-key-package.ts'
import { ringOf } from '../trust/root-keys.ts'
import { fetchSmall } from './fetch-small.ts'

type Needed = Pick<Ports, 'content' | 'clock' | 'log' | 'keyStore'>

/** The reference agent makes one attempt, which after a boot is often too early (protocol, chapters 4.10, 12.4). */
const FETCH = { maxBytes: MAX_PACKAGE_BYTES, timeout: 10 * 60_000, attempts: 5 }

/** The keys to verify an order with, or why there are none. */
export type Keys = { readonly ring: KeyRing; readonly extraCodes: readonly number[] } | { readonly failure: AgentError }

/**
 * The root keys: built in, from configuration, and from the newest package of the service. A package that was verified
 * once is kept and never replaced by an older one: what was withdrawn stays withdrawn.
 */
export class RootKeys {
  readonly #ports: Needed
  readonly #anchors: Anchors
  /** `undefined`: not looked at yet. */
  #stored: RootKeyPackage | 'none' | 'unusable' | undefined
  /** What counts is on the disk too. */
  #saved = true

  constructor(ports: Needed, anchors: Anchors) {
    this.#ports = ports
    this.#anchors = anchors
  }

  /**
   * For an order that names the package at `url`, or none. Short of a failure of the package itself, the network has no
   * say: it is asked five times, and then what is stored goes on to count, if there is something. With nothing stored, an
   * order that names a package is refused: nobody could say which keys were withdrawn. Errors: AgentError `PACKAGE_STORE`
   * when the store cannot be read, which is worth another try.
   */
  async forOrder(url: string | undefined, signal: AbortSignal): Promise<Keys> {
    this.#stored ??= await this.#load()
    if (url === undefined) return this.#known([])
    try {
      return await this.#refresh(url, signal)
    } catch (error) {
      signal.throwIfAborted()
      if (!(error instanceof AgentError)) throw error
      return { failure: error }
    }
  }

  async #refresh(url: string, signal: AbortSignal): Promise<Keys> {
    const { log } = this.#ports
    let bytes: Buffer
    try {
      bytes = await fetchSmall(this.#ports, url, FETCH, signal)
    } catch (error) {
      signal.throwIfAborted()
      if (!(error instanceof AgentError)) throw error
      if (error.code === 'FILE_SIZE') throw new AgentError('PACKAGE_JSON', `rootKeyPackage: ${error.message}`)
      const failure = new PackageDownloadError(error)
      if (typeof this.#stored !== 'object') throw failure
      log.warn('root-keys.unreachable', { why: error.message, code: ercText(failure.extendedResultCode) })
      return this.#known([failure.extendedResultCode])
    }
    const next = readRootKeyPackage(bytes, this.#anchors)
    const age = typeof this.#stored === 'object' ? compareAge(this.#stored, next) : 'newer'
    if (age === 'older')
      throw new AgentError('PACKAGE_OLDER', 'rootKeyPackage: is older than the one this device knows')
    if (age === 'same' && this.#saved) return this.#known([EXTENDED_RESULT_CODE.PACKAGE_UNCHANGED])
    return this.#take(next, bytes)
  }

  async #take(next: RootKeyPackage, bytes: Buffer): Promise<Keys> {
    const { keyStore, log } = this.#ports
    this.#stored = next
    this.#saved = false
    const { version, disabledRootKeys, disabledSigningKeys } = next
    log.info('root-keys.changed', { version, disabledRootKeys, disabledSigningKeys: disabledSigningKeys.length })
    try {
      await keyStore.write(bytes)
      this.#saved = true
      return this.#known([EXTENDED_RESULT_CODE.PACKAGE_CHANGED])
    } catch (error) {
      if (!(error instanceof AgentError)) throw error
      // It counts all the same, for as long as this process lives; the next order brings it again.
      log.error('root-keys.not-stored', { why: error.message })
      return this.#known([error.extendedResultCode])
    }
  }

  #known(extraCodes: readonly number[]): Keys {
    if (this.#stored === 'unusable') {
      const why = 'the stored root key package cannot be used, and the deployment names no other'
      return { failure: new AgentError('PACKAGE_UNUSABLE', why) }
    }
    return { ring: ringOf(this.#anchors, typeof this.#stored === 'object' ? this.#stored : undefined), extraCodes }
  }

  async #load(): Promise<RootKeyPackage | 'none' | 'unusable'> {
    const bytes = await this.#ports.keyStore.read()
    if (bytes === undefined) return 'none'
    try {
      return readRootKeyPackage(bytes, this.#anchors)
    } catch (error) {
      if (!(error instanceof AgentError)) throw error
      this.#ports.log.error('root-keys.unusable', { why: error.message, code: ercText(error.extendedResultCode) })
      return 'unusable'
    }
  }
}

/** A package that did not come; the reason stands in the low 20 bits (chapter 4.8, step 4). */
class PackageDownloadError extends AgentError {
  override readonly name = 'PackageDownloadError'
  readonly #reason: number

  constructor(cause: AgentError) {
    super('PACKAGE_DOWNLOAD', `the root key package cannot be fetched: ${cause.message}`, { cause })
    this.#reason = cause.extendedResultCode & 0xfffff
  }

  override get extendedResultCode(): number {
    return (super.extendedResultCode | this.#reason) >>> 0
  }
}
