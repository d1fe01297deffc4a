import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { decodeText, flawOf, parseJsonText } from '../../src/domain/text.ts'
import { encodings } from './encodings.ts'

test('text of every usual encoding is read', () => {
  for (const text of ['', '{"a": "ü € 😀"}\r\n', 'plain']) {
    for (const [name, bytes] of Object.entries(encodings(text))) assert.equal(decodeText(bytes), text, name)
  }
})

test('other encodings are named, and the text is not', () => {
  const rows: readonly (readonly [Buffer, RegExp])[] = [
    [Buffer.from('{"name": "M\u00fcller"}', 'latin1'), /8-bit code page/],
    [Buffer.from('{"secret": 1}', 'utf16le'), /UTF-16 without a byte order mark/],
    [Buffer.from('{"secret": 1}', 'utf16le').swap16(), /UTF-16 without a byte order mark/],
    [Buffer.from([0xff, 0xfe, 0, 0, 0x7b, 0, 0, 0]), /UTF-32/],
    [Buffer.from([0, 0, 0xfe, 0xff, 0, 0, 0, 0x7b]), /UTF-32/],
    [Buffer.from([0xff, 0xfe, 0x7b]), /UTF-16 that was cut off/],
    [Buffer.from([0xfe, 0xff, 0x7b]), /UTF-16 that was cut off/],
    [Buffer.from([0xff, 0xfe, 0x00, 0xd8]), /UTF-16 that was cut off or damaged/],
  ]
  for (const [bytes, says] of rows) {
    const error = failure(() => decodeText(bytes))
    assert.match(error, says)
    assert.match(error, /^is not UTF-8 .*: save it as UTF-8$/)
    assert.doesNotMatch(error, /secret|M.ller/)
  }
})

test('the place of a mistake in JSON is given, never the text around it', () => {
  const rows: readonly (readonly [string, RegExp])[] = [
    ['', /line 1, column 1: the file is empty/],
    [' \r\n\t', /line 2, column 2: the file is empty/],
    ['{\r\n  "key": "secret"\r\n  "b": 2\r\n}', /line 3, column 3: "," or "}" is expected/],
    ['{"key": "secret",}', /line 1, column 18: the comma before it is one too many/],
    ['[1, 2,\n]', /line 2, column 1: the comma before it is one too many/],
    ['{"key": "secret', /line 1, column 16: the closing double quote is missing/],
    ['{"key": "secret\n"}', /line 1, column 16: the closing double quote is missing/],
    ['{"path": "C:\\secret"}', /line 1, column 13: a backslash must be doubled: \\\\/],
    ['{"key": "secret"', /the file ends here, but "," or "}" is expected/],
    ["{'key': 'secret'}", /line 1, column 2: only plain double quotes are allowed/],
    ['{\u201ckey\u201d: 1}', /line 1, column 2: only plain double quotes are allowed/],
    ['{key: "secret"}', /line 1, column 2: a name in double quotes or "}" is expected/],
    ['{"key" "secret"}', /line 1, column 8: ":" is expected/],
    ['{"key": secret}', /line 1, column 9: a value is expected/],
    ['{"key": 01}', /line 1, column 9: a value is expected/],
    ['{} {}', /line 1, column 4: nothing more is expected/],
    ['// secret\n{}', /line 1, column 1: JSON has no comments/],
    ['["😀" 1]', /line 1, column 6: "," or "\]" is expected/],
    ['['.repeat(100_000), /column 100001: the file ends here/],
  ]
  for (const [text, says] of rows) {
    const error = failure(() => parseJsonText(text))
    assert.match(error, says)
    assert.match(error, /^is not valid JSON: line \d+, column \d+: /)
    assert.doesNotMatch(error, /secret/)
  }
})

test('a mistake is found wherever JSON.parse finds one, and nowhere else', () => {
  const isJson = (text: string): boolean => {
    try {
      JSON.parse(text)
      return true
    } catch {
      return false
    }
  }
  const sample = fc
    .json()
    .chain(text =>
      fc
        .tuple(fc.nat(text.length), fc.nat(2), fc.constantFrom('', ...'{}[],:"\\0-+.eEtu\n/ \u0001a'))
        .map(([at, cut, put]) => text.slice(0, at) + put + text.slice(at + cut)),
    )
  const holds = fc.property(
    fc.oneof(sample, fc.json(), fc.string()),
    text => (flawOf(text) === undefined) === isJson(text),
  )
  fc.assert(holds, { numRuns: 20_000 })
})

function failure(work: () => unknown): string {
  try {
    work()
  } catch (error) {
    return (error as Error).message
  }
  throw new Error('it was taken')
}
