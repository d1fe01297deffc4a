import { isUtf8 } from 'node:buffer'

/** A file that is not text, or not valid JSON. The message ends a sentence that begins with the file's name. */
export class TextError extends Error {
  override readonly name = 'TextError'
}

/**
 * The text of a file that a person wrote on any system: UTF-8 with or without a byte order mark, or UTF-16 with one.
 * Errors: TextError that names the encoding; it never quotes the file, which may hold a key.
 */
export function decodeText(bytes: Buffer): string {
  const starts = (...mark: number[]): boolean => mark.every((byte, index) => bytes[index] === byte)
  if (starts(0xff, 0xfe, 0, 0) || starts(0, 0, 0xfe, 0xff)) throw wrongEncoding('UTF-32')
  if (starts(0xff, 0xfe)) return utf16(bytes.subarray(2))
  if (starts(0xfe, 0xff)) {
    if (bytes.length % 2 !== 0) throw wrongEncoding('UTF-16 that was cut off')
    return utf16(Buffer.from(bytes.subarray(2)).swap16())
  }
  const content = starts(0xef, 0xbb, 0xbf) ? bytes.subarray(3) : bytes
  // UTF-8 text has no NUL. In UTF-16, every second byte of an English text is NUL.
  if (content.includes(0)) throw wrongEncoding('binary, or UTF-16 without a byte order mark')
  if (!isUtf8(content)) throw wrongEncoding('an 8-bit code page such as Windows-1252')
  return content.toString('utf8')
}

function utf16(bytes: Buffer): string {
  const text = bytes.toString('utf16le')
  if (bytes.length % 2 !== 0 || /\p{Surrogate}/u.test(text)) throw wrongEncoding('UTF-16 that was cut off or damaged')
  return text
}

const wrongEncoding = (what: string): TextError =>
  new TextError(`is not UTF-8 (it looks like ${what}): save it as UTF-8`)

/**
 * Reads JSON that a person wrote. With `onceOnly`, a duplicate member is an error, because the first one would silently have
 * no effect; otherwise the last one counts, as with `JSON.parse`. Errors: TextError with line, column and what is expected
 * there. It never quotes the text, which may hold a key.
 */
export function parseJsonText(text: string, members: 'onceOnly' | 'lastCounts' = 'lastCounts'): unknown {
  const flaw = flawOf(text, members)
  if (flaw) throw new TextError(`is not valid JSON: ${placeOf(text, flaw.at)}: ${flaw.why}`)
  return JSON.parse(text)
}

function placeOf(text: string, at: number): string {
  const lines = text.slice(0, at).split(/\r\n|\n|\r/)
  return `line ${lines.length}, column ${[...(lines.at(-1) ?? '')].length + 1}`
}

const SPACE = /[ \t\r\n]*/y
// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON allows none in its texts
const PLAIN = /"[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[\da-fA-F]{4})[^"\\\x00-\x1f]*)*/y
const SCALAR = /(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)(?![\w.+-])/y

const EXPECTED = {
  value: 'a value is expected',
  valueOrEnd: 'a value or "]" is expected',
  name: 'a name in double quotes is expected',
  nameOrEnd: 'a name in double quotes or "}" is expected',
  colon: '":" is expected',
  nextMember: '"," or "}" is expected',
  nextElement: '"," or "]" is expected',
  nothing: 'nothing more is expected',
}

/** The index of the first mistake; undefined when there is none. */
export function flawOf(
  text: string,
  members: 'onceOnly' | 'lastCounts' = 'lastCounts',
): { readonly at: number; readonly why: string } | undefined {
  /** The open brackets: for an object the names seen so far, or a list. */
  const open: (Set<string> | 'list')[] = []
  let expects: keyof typeof EXPECTED = 'value'
  let at = 0
  const take = (pattern: RegExp): boolean => {
    pattern.lastIndex = at
    if (!pattern.test(text)) return false
    at = pattern.lastIndex
    return true
  }
  const after = (): keyof typeof EXPECTED => {
    const around = open.at(-1)
    return around === undefined ? 'nothing' : around === 'list' ? 'nextElement' : 'nextMember'
  }
  for (;;) {
    take(SPACE)
    const sign = text[at]
    if (sign === undefined) {
      if (expects === 'nothing') return undefined
      return { at, why: text.trim() === '' ? 'the file is empty' : `the file ends here, but ${EXPECTED[expects]}` }
    }
    const wantsValue: boolean = expects === 'value' || expects === 'valueOrEnd'
    const wantsName: boolean = expects === 'name' || expects === 'nameOrEnd'
    if (sign === '"' && (wantsValue || wantsName)) {
      const start = at
      take(PLAIN)
      if (text[at] !== '"') return { at, why: unclosed(text[at]) }
      at += 1
      const around = open.at(-1)
      if (wantsName && members === 'onceOnly' && around instanceof Set) {
        const name = JSON.parse(text.slice(start, at))
        if (around.has(name)) return { at: start, why: 'this name is here for the second time' }
        around.add(name)
      }
      expects = wantsName ? 'colon' : after()
    } else if (wantsValue && (sign === '{' || sign === '[')) {
      open.push(sign === '{' ? new Set() : 'list')
      expects = sign === '{' ? 'nameOrEnd' : 'valueOrEnd'
      at += 1
    } else if (sign === '}' && (expects === 'nameOrEnd' || expects === 'nextMember')) {
      open.pop()
      expects = after()
      at += 1
    } else if (sign === ']' && (expects === 'valueOrEnd' || expects === 'nextElement')) {
      open.pop()
      expects = after()
      at += 1
    } else if (sign === ',' && (expects === 'nextMember' || expects === 'nextElement')) {
      expects = expects === 'nextMember' ? 'name' : 'value'
      at += 1
    } else if (sign === ':' && expects === 'colon') {
      expects = 'value'
      at += 1
    } else if (wantsValue && take(SCALAR)) expects = after()
    else return { at, why: hint(sign, expects) ?? EXPECTED[expects] }
  }
}

const unclosed = (sign: string | undefined): string =>
  sign === '\\' ? 'a backslash must be doubled: \\\\' : 'the closing double quote is missing'

function hint(sign: string, expects: keyof typeof EXPECTED): string | undefined {
  if (sign === '/' || sign === '#') return 'JSON has no comments'
  if ((sign === '}' && expects === 'name') || (sign === ']' && expects === 'value')) {
    return 'the comma before it is one too many'
  }
  if (sign === '<') return 'a placeholder is still here'
  return /['‘’“”„]/.test(sign) ? 'only plain double quotes are allowed' : undefined
}

/** Shortens `text` to at most `bytes` of UTF-8, without a broken character at the end. */
export function cut(text: string, bytes: number): string {
  const whole = Buffer.from(text)
  if (whole.length <= bytes) return text
  return `${whole
    .subarray(0, bytes - 3)
    .toString()
    .replace(/\uFFFD+$/, '')}…`
}

/** Shortens `text` so that its JSON has at most `bytes` bytes, without the quotes. */
export function cutForJson(text: string, bytes: number): string {
  for (let most = bytes; most > 3; most = Math.floor(most / 2)) {
    const part = cut(text, most)
    if (Buffer.byteLength(JSON.stringify(part)) - 2 <= bytes) return part
  }
  return ''
}
