/** One file of an archive. Offsets count from the archive's first byte. */
export interface CpioMember {
  readonly name: string
  /** In bytes. */
  readonly size: number
  /** Sum of all bytes, modulo 2^32. */
  readonly checksum: number
  /** Undefined in the format without checksums. */
  readonly hasChecksum: boolean
  /** Where its header begins. */
  readonly header: number
  /** Where its content begins. */
  readonly first: number
}

/** The parts of an archive, in order. The bytes are a view of the piece that contained them. */
export type CpioPart =
  | { readonly is: 'member'; readonly member: CpioMember }
  | { readonly is: 'content'; readonly bytes: Buffer }
  | { readonly is: 'end of member' }
  | { readonly is: 'trailer' }

/** What is wrong with an archive, and where: "… at byte 1234". */
export class CpioError extends Error {
  override readonly name = 'CpioError'
  /** `behind`: something follows the end of the archive, such as a second one. */
  readonly kind: 'format' | 'behind'

  constructor(what: string, at: number, kind: CpioError['kind'] = 'format') {
    super(`${what} at byte ${at}`)
    this.kind = kind
  }
}

export const TRAILER = 'TRAILER!!!'
export const HEADER_BYTES = 110
const MAGIC = { crc: '070702', newc: '070701' } as const
/** Including its zero byte; SWUpdate accepts no longer name (swupdate, include/globals.h, MAX_IMAGE_FNAME). */
const MAX_NAME_BYTES = 255
/** Zeros after the trailer pad the last block. cpio(1) writes blocks of 512 or 5120 bytes, other programs at most 10240. */
const MAX_BLOCK_BYTES = 10_240

/** Bytes that pad `bytes` to a multiple of 4. */
export const padding = (bytes: number): number => (4 - (bytes % 4)) % 4

type State =
  | { readonly in: 'header' | 'behind' }
  | { readonly in: 'name'; readonly fields: Fields; readonly bytes: number }
  | { readonly in: 'content'; readonly size: number }
  | { readonly in: 'padding' }

type Fields = Pick<CpioMember, 'size' | 'checksum' | 'hasChecksum' | 'header'> & { readonly nameBytes: number }

/**
 * Reads an archive in the cpio formats that SWUpdate accepts (cpio(5), new ASCII with or without checksums), piece by piece, and
 * copies only headers and names. The archive ends with its trailer; only zeros up to the end of a block may follow. Errors of
 * both methods: CpioError.
 */
export class CpioReader {
  #state: State = { in: 'header' }
  /** Offset of the next byte. */
  #at = 0
  /** Bytes that the current state still needs. */
  #missing = HEADER_BYTES
  /** The part of a header or a name that has arrived. */
  #text = ''

  /** Call after the last piece. */
  end(): void {
    if (this.#state.in !== 'behind') throw new CpioError('it ends early,', this.#at)
  }

  /** Skips `bytes` bytes if all of them are content and do not end it. Returns whether it did. */
  skip(bytes: number): boolean {
    if (this.#state.in !== 'content' || bytes >= this.#missing) return false
    this.#at += bytes
    this.#missing -= bytes
    return true
  }

  /** The parts of `piece`. Read all of them before the next piece. */
  *push(piece: Buffer): Generator<CpioPart> {
    for (let from = 0; from < piece.length || this.#missing === 0; ) {
      const bytes = piece.subarray(from, from + this.#missing)
      from += bytes.length
      this.#at += bytes.length
      this.#missing -= bytes.length
      if (this.#state.in === 'content' && bytes.length > 0) yield { is: 'content', bytes }
      else if (this.#state.in === 'header' || this.#state.in === 'name') this.#text += bytes.toString('latin1')
      else if (this.#state.in === 'behind' && bytes.some(byte => byte !== 0)) {
        throw new CpioError('something follows the end of the archive', this.#at, 'behind')
      }
      if (this.#missing > 0) continue
      const part = this.#next()
      if (part) yield part
    }
  }

  #enter(state: State, missing: number): void {
    this.#state = state
    this.#missing = missing
    this.#text = ''
  }

  /** All that the state needs has come. */
  #next(): CpioPart | undefined {
    const state = this.#state
    switch (state.in) {
      case 'header': {
        const fields = this.#fields()
        const bytes = fields.nameBytes + padding(HEADER_BYTES + fields.nameBytes)
        this.#enter({ in: 'name', fields, bytes }, bytes)
        return undefined
      }
      case 'name':
        return this.#member(state.fields)
      case 'content':
        this.#enter({ in: 'padding' }, padding(state.size))
        return { is: 'end of member' }
      case 'padding':
        this.#enter({ in: 'header' }, HEADER_BYTES)
        return undefined
      case 'behind':
        throw new CpioError('zeros follow the end of the archive, more than fill a block', this.#at, 'behind')
    }
  }

  #fields(): Fields {
    const header = this.#at - HEADER_BYTES
    const magic = this.#text.slice(0, 6)
    if (magic !== MAGIC.crc && magic !== MAGIC.newc) throw new CpioError('there is no cpio header', header)
    const digits = this.#text.slice(6)
    if (!/^[\da-f]{104}$/i.test(digits))
      throw new CpioError('a cpio header makes no sense: it has more than digits,', header)
    const field = (index: number): number => Number.parseInt(digits.slice(index * 8, index * 8 + 8), 16)
    const nameBytes = field(11)
    if (nameBytes < 2 || nameBytes > MAX_NAME_BYTES) {
      throw new CpioError(
        `a cpio header makes no sense: its name has ${nameBytes} bytes, not 2 to ${MAX_NAME_BYTES},`,
        header,
      )
    }
    return { size: field(6), checksum: field(12), hasChecksum: magic === MAGIC.crc, header, nameBytes }
  }

  #member({ nameBytes, ...fields }: Fields): CpioPart {
    const name = Buffer.from(this.#text.slice(0, nameBytes), 'latin1').toString()
    // SWUpdate reads a name up to its first zero byte.
    if (name.indexOf('\0') !== name.length - 1) {
      throw new CpioError('a cpio header makes no sense: its name does not end with a zero byte,', fields.header)
    }
    const member = { ...fields, name: name.slice(0, -1), first: this.#at }
    if (member.name !== TRAILER) {
      this.#enter({ in: 'content', size: member.size }, member.size)
      return { is: 'member', member }
    }
    if (member.size > 0) throw new CpioError('a cpio header makes no sense: the trailer has a content,', fields.header)
    this.#enter({ in: 'behind' }, MAX_BLOCK_BYTES)
    return { is: 'trailer' }
  }
}
