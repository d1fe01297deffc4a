import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EVERY, FIRST } from '../every.ts'
import { disagrees, judge, type Verdict } from './oracle/oracle.ts'
import { SEEDS } from './oracle/seeds.ts'

const MUTATIONS = Math.ceil(386 / EVERY)
const COUNT = SEEDS.length + MUTATIONS

test(`swupdate -c and our reader agree on ${COUNT} descriptions; where we refuse more, it is by policy`, async () => {
  const verdicts: Verdict[] = []
  await judge(0, SEEDS.length, 20, verdict => verdicts.push(verdict))
  await judge(SEEDS.length + FIRST * MUTATIONS, MUTATIONS, 20, verdict => verdicts.push(verdict))
  assert.equal(verdicts.length, COUNT)
  assert.deepEqual(verdicts.filter(disagrees), [])
  // Else the harness would be what refuses.
  const both = verdicts.filter(({ theirs, ours }) => theirs && ours.length === 0)
  assert.ok(both.length > COUNT / 5, `both take ${both.length}`)
  assert.ok(both.filter(({ number }) => number < SEEDS.length).length > SEEDS.length / 2)
  assert.ok(verdicts.filter(({ theirs }) => !theirs).length > COUNT / 5)
})
