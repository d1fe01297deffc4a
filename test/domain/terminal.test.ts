import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { jsonText, lineByLine, onOneLine } from '../../src/domain/terminal.ts'
import { EVIL, OBEYED } from './evil.ts'

test('what a terminal obeys is shown as an escape, and there is one line', () => {
  assert.equal(onOneLine('a\tb\r\nc  d'), 'a b c  d')
  assert.equal(onOneLine('\u001b[2J\u009b31m\u0007\u007f'), '\\u001b[2J\\u009b31m\\u0007\\u007f')
  assert.equal(onOneLine('\u202eabc\u2066\u200f\ud800'), '\\u202eabc\\u2066\\u200f\\ud800')
  assert.equal(onOneLine('\u{e0041}'), '\\udb40\\udc41')
  assert.equal(onOneLine('Gerät “süß” 你好 😀'), 'Gerät “süß” 你好 😀')
  assert.equal(lineByLine('one\n  two\u001b'), 'one\n  two\\u001b')
  assert.doesNotMatch(onOneLine(EVIL), OBEYED)
})

test('JSON stays JSON and means the same', () => {
  const value = fc.jsonValue()
  fc.assert(fc.property(value, each => assert.deepEqual(JSON.parse(jsonText(each)), JSON.parse(JSON.stringify(each)))))
  const evil = { [EVIL]: [EVIL] }
  assert.deepEqual(JSON.parse(jsonText(evil)), evil)
  assert.deepEqual(JSON.parse(jsonText(evil, 2)), evil)
  assert.doesNotMatch(jsonText(evil, 2), OBEYED)
  fc.assert(fc.property(fc.string({ unit: 'binary' }), text => !OBEYED.test(jsonText(text) + onOneLine(text))))
})
