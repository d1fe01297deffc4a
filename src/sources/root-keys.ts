import { fetchSmall } from '../delivery/fetch-small.ts'
import { AgentError } from '../domain/errors.ts'
import { EXTENDED_RESULT_CODE, ercText } from '../domain/result-codes.ts'
import type { Content } from '../ports/content.ts'
import type { Ports } from '../ports/ports.ts'
import type { KeyRing } from '../trust/keys.ts'
import {
  type Anchors,
  compareAge,
  MAX_PACKAGE_BYTES,
  type RootKeyPackage,
  readRootKeyPackage,
} from '../trust/root-key-package.ts'
import { ringOf } from '../trust/root-keys.ts'

type Needed = Pick<Ports, 'content' | 'clock' | 'log' | 'keyStore'>

/** The reference agent tries only once, which is often too early after a boot (PROTOCOL.md, "Package download"). */
const FETCH = { maxBytes: MAX_PACKAGE_BYTES, timeout: 10 * 60_000, attempts: 5 }

/** The keys to verify a deployment with, or why there are none. */
export type Keys = { readonly ring: KeyRing; readonly extraCodes: readonly number[] } | { readonly failure: AgentError }

/**
 * The root keys: built in, from the configuration, and from the service's newest package. A verified package is kept and
 * never replaced by an older one, so a withdrawn key stays withdrawn.
 */
export class RootKeys {
  readonly #ports: Needed
  readonly #anchors: Anchors
  #loading: Promise<void> | undefined
  /** `undefined`: not read yet. */
  #stored: RootKeyPackage | 'none' | 'unusable' | undefined
  /** Whether the package in use is also on the disk. */
  #saved = true
  /** The store takes one package after the other, whoever brings them. */
  #writing: Promise<unknown> = Promise.resolve()

  constructor(ports: Needed, anchors: Anchors) {
    this.#ports = ports
    this.#anchors = anchors
  }

  /**
   * The keys for a deployment that names the package at `url`, or none. If the package cannot be fetched in five tries, the
   * stored one stays valid. If none is stored, a deployment that names a package is refused, because nobody could say which
   * keys were withdrawn. `content`: where to fetch it from instead of the network. Errors: AgentError `PACKAGE_STORE` when the
   * store cannot be read, which is worth another try.
   */
  async forDeployment(url: string | undefined, signal: AbortSignal, content = this.#ports.content): Promise<Keys> {
    await this.#loaded()
    if (url === undefined) return this.#known([])
    try {
      return await this.#refresh(url, content, signal)
    } catch (error) {
      signal.throwIfAborted()
      if (!(error instanceof AgentError)) throw error
      return { failure: error }
    }
  }

  async #refresh(url: string, content: Content, signal: AbortSignal): Promise<Keys> {
    const { log } = this.#ports
    let bytes: Buffer
    try {
      bytes = await fetchSmall({ ...this.#ports, content }, url, FETCH, signal)
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
      const writing = this.#writing.then(() => keyStore.write(bytes))
      this.#writing = writing.catch(() => {})
      await writing
      if (this.#stored === next) this.#saved = true
      return this.#known([EXTENDED_RESULT_CODE.PACKAGE_CHANGED])
    } catch (error) {
      if (!(error instanceof AgentError)) throw error
      // The package still counts as long as this process runs; the next deployment names it again.
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

  /** One read for all who ask meanwhile: a late one would put an older package over a newer one. */
  async #loaded(): Promise<void> {
    if (this.#stored !== undefined) return
    this.#loading ??= this.#load()
      .then(stored => {
        this.#stored = stored
      })
      .finally(() => {
        this.#loading = undefined
      })
    await this.#loading
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

/** A package that could not be fetched; the low 20 bits of the code give the reason (PROTOCOL.md, "Root key package"). */
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
