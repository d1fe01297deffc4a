import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'node:test'
import { inspect } from '../../src/bundle/policy.ts'
import { AgentError } from '../../src/domain/errors.ts'
import { measured, packBundle } from '../../src/operator/bundle/pack.ts'
import { casesFor } from './effects.ts'
import { DANGER, FILES, makeWorld, SELECTION } from './world.ts'

/** Descriptions that are made, and how many of those that pass are given to a real SWUpdate. */
const MADE = Number(process.env.MUTATIONS ?? 20_000)
const RUN = Number(process.env.MUTATIONS_RUN ?? 80)

const { at, placed, sources, signer, entry, world, throughAgent } = await makeWorld()
const texts = casesFor(entry, world)
  .filter(({ text }) => text.length < 5_000 && text.startsWith('software'))
  .map(({ text }) => text)
const [good = ''] = texts
const terms = {
  slot: 'b',
  device: placed('b'),
  selection: SELECTION.b,
  board: 'pi-workbench',
  allow: new Set<never>(),
} as const

const tokensOf = (text: string): string[] => text.match(/"(\\.|[^"\\])*"|[\w-]+|[^\s\w]/g) ?? []
const pool = [
  ...new Set(texts.flatMap(tokensOf)),
  'ref',
  '"#./images"',
  '"#../common"',
  '/*',
  '*/',
  '#',
  '//',
  '@include',
  '[',
  ']',
  '\\',
]

/** Reproducible: xorshift. */
let state = 0x2545f491
function upTo(limit: number): number {
  state ^= state << 13
  state ^= state >>> 17
  state ^= state << 5
  return (state >>> 0) % limit
}
const oneOf = <T>(list: readonly T[]): T => list[upTo(list.length)]!

/** Half of them begin as a good one, and get something of a dangerous one in the middle. */
function mutated(): string {
  const tokens = tokensOf(upTo(2) === 0 ? good : oneOf(texts))
  for (let count = 1 + upTo(3); count > 0; count--) {
    const at = upTo(tokens.length)
    switch (upTo(5)) {
      case 0:
        tokens.splice(at, 1 + upTo(3))
        break
      case 1:
        tokens.splice(at, 1, oneOf(pool))
        break
      case 2:
        tokens.splice(at, 0, oneOf(pool))
        break
      case 3:
        tokens.splice(upTo(tokens.length), 0, ...tokens.slice(at, at + 1 + upTo(12)))
        break
      default: {
        const other = tokensOf(oneOf(texts))
        const from = upTo(other.length)
        tokens.splice(at, 0, ...other.slice(from, from + 1 + upTo(30)))
      }
    }
  }
  return tokens.join(upTo(4) === 0 ? '\n' : ' ')
}

function passes(text: string): boolean {
  try {
    return Boolean(inspect(Buffer.from(text), terms))
  } catch (error) {
    assert.ok(error instanceof AgentError && error.code.startsWith('BUNDLE_'), `${error}: ${text}`)
    return false
  }
}

test('whatever passes does nothing but write the slot, in a real SWUpdate', { timeout: 600_000 }, async () => {
  const passed = new Set<string>()
  for (let count = 0; count < MADE; count++) {
    const text = mutated()
    if (passes(text)) passed.add(text)
  }
  const chosen = [...passed].filter(text => tokensOf(text).join() !== tokensOf(good).join()).slice(0, RUN)
  assert.ok(chosen.length >= Math.min(RUN, 50), `only ${chosen.length} pass: nothing is proved`)
  const fileNames = Object.keys(FILES)
  let written = 0
  for (const text of chosen) {
    // In the order that the description names them: the guard would refuse another.
    const named = [...new Set([...text.matchAll(/filename\s*[=:]\s*"(\w+)"/g)].map(([, name]) => name ?? ''))]
    const files = named.filter(name => fileNames.includes(name)).map(name => measured(join(sources, name), name))
    await packBundle(at('mutated.swu'), text, await Promise.all(files), signer)
    const bundle = await readFile(at('mutated.swu'))
    const sha256 = createHash('sha256').update(bundle).digest()
    const { code, message, left } = await throughAgent(bundle, { sha256, compare: false, allow: [] })
    const outside = left.filter(found => !found.endsWith('image in the slot'))
    assert.deepEqual(outside, [], text)
    if (code === undefined) assert.ok(left.includes(DANGER.whole), text)
    else assert.match(code, /^(BUNDLE_|SWUPDATE_FAILED)/, message)
    if (code === undefined) written += 1
  }
  assert.ok(written > chosen.length / 2, `SWUpdate installed ${written} of ${chosen.length}`)
})
