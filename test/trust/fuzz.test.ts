import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { assertGood, TARGETS } from './fuzz/targets.ts'

/** The same changes each time, to texts that new keys have signed; `npm run fuzz` looks for other ones. */
const SEED = 20_200_702

test('the inputs that are changed are good ones', assertGood)

test('at least 100,000 inputs', () => {
  assert.ok(TARGETS.reduce((sum, { runs }) => sum + runs, 0) >= 100_000)
})

for (const { name, runs, property } of TARGETS) {
  test(`${name}: ${runs} inputs, no crash, no hang, nothing accepted that was not signed`, async () => {
    await fc.assert(property(), { seed: SEED, numRuns: runs, endOnFailure: true })
  })
}
