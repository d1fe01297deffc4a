import assert from 'node:assert/strict'
import { test } from 'node:test'
import { disagrees, judge, type Verdict } from './oracle/oracle.ts'
import { SEEDS } from './oracle/seeds.ts'

test('swupdate -c and our reader agree on 400 descriptions; where we refuse more, it is by policy', async () => {
  const verdicts: Verdict[] = []
  await judge(0, 400, 20, verdict => verdicts.push(verdict))
  assert.equal(verdicts.length, 400)
  assert.deepEqual(verdicts.filter(disagrees), [])
  // Else the harness would be what refuses.
  const both = verdicts.filter(({ theirs, ours }) => theirs && ours.length === 0)
  assert.ok(both.length > 80, `both take ${both.length}`)
  assert.ok(both.filter(({ number }) => number < SEEDS.length).length > SEEDS.length / 2)
  assert.ok(verdicts.filter(({ theirs }) => !theirs).length > 80)
})
