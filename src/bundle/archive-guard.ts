import { AgentError } from '../domain/errors.ts'
import { CpioError, type CpioMember, type CpioPart, CpioReader } from './cpio.ts'
import { MAX_DESCRIPTION_BYTES } from './libconfig.ts'
import { ZSTD_HEAD_BYTES, zstdContentSize } from './zstd.ts'

/** What a description says about the files of its bundle. */
export interface Contents {
  /** Every file that the description names, in its order. */
  readonly files: readonly string[]
  /** Those that SWUpdate needs for this slot. */
  readonly needed: ReadonlySet<string>
  /** The file that becomes the content of the slot. */
  readonly image: string
  /** How it is packed. Undefined: the bundle holds it exactly as the slot will. */
  readonly packed: 'zstd' | 'other' | undefined
  /** The description names the device of the slot, so SWUpdate opens it without the agent. */
  readonly direct: boolean
  /** The image is encrypted. */
  readonly encrypted: boolean
}

export interface GuardOptions {
  /** Reads `sw-description`. Errors: AgentError, for a description that SWUpdate must not see. */
  readonly check: (description: Buffer) => Contents
  /** Size of the slot in bytes; undefined when unknown. */
  readonly room: number | undefined
  readonly device: string
  /** Called with the name of each file behind the signature, before its first byte passes. */
  readonly onFile?: (name: string) => void
}

/** No file of the bundle is complete without its last bytes. */
const HELD_BYTES = 65_536
/** A CMS signature with its certificates takes a few kilobytes. */
const MAX_SIGNATURE_BYTES = 65_536
const HEAD = ['sw-description', 'sw-description.sig'] as const
const MAX_HEAD = [MAX_DESCRIPTION_BYTES, MAX_SIGNATURE_BYTES] as const

/**
 * The same bytes, as far as SWUpdate may see them. Nothing passes before `check` has accepted the description and the first
 * image is known to fit. The end of each file waits until another file follows it. The end of the last file and the archive's
 * trailer, without which SWUpdate cannot finish, wait for the end of `bundle`, however long that takes. So if `bundle` throws,
 * SWUpdate never sees a complete one. Copies only what it holds back. A piece is valid until the next is requested.
 * Errors: those of `bundle` and `check`; AgentError `BUNDLE_FORMAT`, `BUNDLE_BEHIND`, `BUNDLE_UNSIGNED`, `BUNDLE_DESCRIPTION`,
 * `BUNDLE_FILE`, `SPACE`.
 */
export async function* guarded(bundle: AsyncIterable<Buffer>, options: GuardOptions): AsyncGenerator<Buffer> {
  const guard = new ArchiveGuard(options)
  const held: Buffer[] = []
  let at = 0
  let given = 0
  for await (const piece of bundle) {
    const limit = guard.push(piece)
    for (let first = held.shift(); first; first = held.shift()) {
      const length = Math.min(first.length, limit - given)
      if (length < first.length) held.unshift(first.subarray(length))
      if (length === 0) break
      yield first.subarray(0, length)
      given += length
    }
    const direct = Math.min(Math.max(0, limit - at), piece.length)
    if (direct > 0) yield piece.subarray(0, direct)
    given += direct
    if (direct < piece.length) held.push(Buffer.from(piece.subarray(direct)))
    at += piece.length
  }
  guard.end()
  yield* held
}

/** Checks the bytes of a bundle in order, and throws when SWUpdate must not see more; see `guarded`. */
export class ArchiveGuard {
  readonly #options: GuardOptions
  readonly #reader = new CpioReader()
  readonly #seen = new Set<string>()
  #limit = 0
  #member: CpioMember | undefined
  #index = -1
  /** The description, then the first bytes of a packed image. */
  #kept: Buffer = Buffer.alloc(0)
  #wanted = 0
  #contents: Contents | undefined

  constructor(options: GuardOptions) {
    this.#options = options
  }

  /** Takes the next piece. Returns the offset up to which bytes may be passed on. */
  push(piece: Buffer): number {
    if (this.#wanted === 0 && this.#reader.skip(piece.length)) return this.#limit
    try {
      for (const part of this.#reader.push(piece)) this.#see(part)
    } catch (error) {
      throw asAgentError(error)
    }
    return this.#limit
  }

  end(): void {
    try {
      this.#reader.end()
    } catch (error) {
      throw asAgentError(error)
    }
  }

  #see(part: CpioPart): void {
    switch (part.is) {
      case 'member':
        this.#member = part.member
        this.#index += 1
        if (this.#index < HEAD.length) this.#head(part.member)
        else this.#file(part.member)
        return
      case 'content':
        if (this.#kept.length < this.#wanted) this.#keep(part.bytes)
        return
      case 'end of member':
        if (this.#index >= HEAD.length && this.#wanted > 0) this.#unpacked()
        this.#wanted = 0
        return
      case 'trailer':
        this.#complete()
    }
  }

  #head({ name, size }: CpioMember): void {
    if (name !== HEAD[this.#index]) {
      if (this.#index === 1) {
        throw new AgentError(
          'BUNDLE_UNSIGNED',
          'the bundle is not signed: no sw-description.sig follows sw-description',
        )
      }
      throw new AgentError('BUNDLE_FORMAT', `the bundle begins with ${quoted(name)}, not with sw-description`)
    }
    const most = MAX_HEAD[this.#index] ?? 0
    if (size > most) throw new AgentError('BUNDLE_DESCRIPTION', `${name} has ${size} bytes, more than ${most}`)
    if (this.#index === 0) this.#wanted = size
    else this.#contents = this.#options.check(this.#kept)
  }

  #file(member: CpioMember): void {
    const { files, image, packed } = this.#contents!
    const { name, size } = member
    const fail = (what: string): never => {
      throw new AgentError('BUNDLE_FILE', `the file ${quoted(name)} in the bundle ${what}`)
    }
    const place = files.indexOf(name)
    if (place < 0) fail('is not named in sw-description')
    if (this.#seen.has(name)) fail('is there twice')
    if (files.slice(place).some(each => this.#seen.has(each))) fail('comes later than sw-description names it')
    this.#seen.add(name)
    this.#options.onFile?.(name)
    this.#kept = Buffer.alloc(0)
    if (name === image && packed === 'zstd') {
      this.#wanted = ZSTD_HEAD_BYTES
      return
    }
    if (name === image && packed === undefined) this.#fits(size)
    this.#release()
  }

  #keep(bytes: Buffer): void {
    this.#kept = Buffer.concat([this.#kept, bytes.subarray(0, this.#wanted - this.#kept.length)])
    if (this.#index >= HEAD.length && this.#kept.length === this.#wanted) this.#unpacked()
  }

  #unpacked(): void {
    this.#wanted = 0
    this.#fits(zstdContentSize(this.#kept) ?? 0)
    this.#release()
  }

  #fits(bytes: number): void {
    const { room, device } = this.#options
    if (room === undefined || bytes <= room) return
    const { name } = this.#member!
    throw new AgentError('SPACE', `${name} has ${bytes} bytes, the slot ${device} has room for ${room}`)
  }

  #release(): void {
    const { header, first, size } = this.#member!
    this.#limit = Math.max(header, first + size - HELD_BYTES)
  }

  #complete(): void {
    if (this.#index < 0) throw new AgentError('BUNDLE_FORMAT', 'the bundle has no sw-description')
    if (!this.#contents) throw unsigned()
    const missing = [...this.#contents.needed].find(name => !this.#seen.has(name))
    if (missing === undefined) return
    throw new AgentError('BUNDLE_FILE', `the file ${quoted(missing)}, which sw-description names, is not in the bundle`)
  }
}

const unsigned = (): AgentError =>
  new AgentError('BUNDLE_UNSIGNED', 'the bundle is not signed: no sw-description.sig follows sw-description')

const quoted = (name: string): string => JSON.stringify(name.slice(0, 80))

function asAgentError(error: unknown): unknown {
  if (!(error instanceof CpioError)) return error
  const [code, what] =
    error.kind === 'behind'
      ? (['BUNDLE_BEHIND', 'is more than one archive'] as const)
      : (['BUNDLE_FORMAT', 'is damaged or was cut short'] as const)
  return new AgentError(code, `the bundle ${what}: ${error.message}`, { cause: error })
}
