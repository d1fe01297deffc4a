import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'node:test'
import { repositoryRoot } from '../../image/builder/repository.ts'
import { guarded } from '../../src/bundle/archive-guard.ts'
import { inspect } from '../../src/bundle/policy.ts'
import type { FileEntity, Verified } from '../../src/domain/deployment.ts'
import { type ErrorCode, EXTENDED_RESULT_CODE, ercText } from '../../src/domain/result-codes.ts'
import { measured, packBundle } from '../../src/operator/bundle/pack.ts'
import { withholdEnd } from '../../src/trust/withheld-end.ts'
import { archiveOf, pieces } from './archive.ts'
import { type Case, casesFor } from './effects.ts'
import { DANGER, FILES, makeWorld, SELECTION } from './world.ts'

const world = await makeWorld()
const { at, placed, sources, signer, alone, throughAgent } = world
const cases = casesFor(world.entry, world.world)

async function bundleFor({ text, archive = ['image'], behind, unsigned, cut }: Case): Promise<Buffer> {
  const path = at('bundle.swu')
  const files = archive.map(name => [name, FILES[name as keyof typeof FILES]] as const)
  if (unsigned) return archiveOf([['sw-description', Buffer.from(text)], ...files])
  await packBundle(path, text, await Promise.all(archive.map(name => measured(join(sources, name), name))), signer)
  const whole = await readFile(path)
  if (cut) return whole.subarray(0, -200_000)
  if (behind === 'zeros') return Buffer.concat([whole, Buffer.alloc(131_072)])
  return behind ? Buffer.concat([whole, whole]) : whole
}

/** Whether SWUpdate is given a single byte. */
async function anyPasses(each: Case, bundle: Buffer, sha256: Buffer): Promise<boolean> {
  const terms = { slot: 'b', device: placed('b'), selection: SELECTION.b, board: 'pi-workbench' } as const
  const check = (text: Buffer) => inspect(text, { ...terms, allow: new Set(each.allow) })
  const entity: FileEntity = { fileId: 'f', fileName: 'bundle.swu', sizeInBytes: bundle.length, sha256 }
  const bytes = guarded(withholdEnd(pieces(bundle, 50_000), entity as Verified<FileEntity>), {
    check,
    room: undefined,
    device: placed('b'),
  })
  const { value } = await bytes.next().catch(() => ({ value: undefined }))
  await bytes.return(undefined)
  return value !== undefined
}

/** Found or not as SWUpdate was fast: how far it came with what it was given when it was ended. */
const PART = 'a part of the image in the slot'

async function outcome(each: Case, bundle: Buffer, sha256: Buffer, compare: boolean): Promise<string> {
  const { code, message, left } = await throughAgent(bundle, { sha256, compare, allow: each.allow ?? [] })
  if (!code) return `installed: ${left.join(', ')}`
  assert.ok(message.length < 400 && !message.includes('\n'), message)
  assert.ok(!left.includes(DANGER.whole), message)
  const name = `\`${ercText(EXTENDED_RESULT_CODE[code])}\``
  if (!(await anyPasses(each, bundle, sha256))) {
    assert.deepEqual(left, [], message)
    return `${name}: nothing`
  }
  const outside = left.filter(found => found !== PART)
  if (!each.allow) assert.deepEqual(outside, [], message)
  return `${name}: at most ${PART}${each.allow ? ', and what is allowed' : ''}`
}

const rows: string[] = []
for (const each of cases) {
  test(each.name, { timeout: 120_000 }, async () => {
    const bundle = await bundleFor(each)
    if (each.danger) {
      const found = await alone(bundle)
      assert.ok(found.includes(DANGER[each.danger]), `SWUpdate alone is harmless: ${found}`)
    }
    const sha256 = createHash('sha256').update(bundle).digest()
    const right = await outcome(each, bundle, sha256, true)
    const wrong = await outcome(each, bundle, Buffer.alloc(32), true)
    assert.equal(await outcome(each, bundle, Buffer.alloc(32), false), wrong)
    if (each.code === 'BUNDLE_UNWRITTEN') assert.equal(await outcome(each, bundle, sha256, false), right)
    if (each.code) assert.ok(right.startsWith(`\`${ercText(EXTENDED_RESULT_CODE[each.code as ErrorCode])}\``), right)
    else assert.match(right, /^installed: the whole image in the slot/)
    rows.push(`| ${each.name} | ${right} | ${wrong} |`)
  })
}

test('the table in EFFECTS.md is the one that was found', () => {
  const file = join(repositoryRoot(), 'test/bundle/EFFECTS.md')
  const text = `# Bundles, and what they leave behind

Each bundle goes through the agent's withheld end into a real SWUpdate, once with the hash that was ordered and once with another. Each is signed with
the right key unless its name says otherwise. The cells name the code of the refusal, and what was written or run until then.
Made by \`test/bundle/effects.test.ts\` (${rows.length} bundles); \`UPDATE_EFFECTS=1\` writes it anew.

| bundle | its hash is the ordered one | its hash is another one |
|---|---|---|
${rows.join('\n')}
`
  if (process.env.UPDATE_EFFECTS) writeFileSync(file, text)
  assert.ok(
    readFileSync(file, 'utf8') === text,
    'test/bundle/EFFECTS.md is out of date: run this test with UPDATE_EFFECTS=1',
  )
})
