import { disagrees, judge, type Verdict } from './oracle.ts'

/**
 * `npm run fuzz:descriptions [COUNT [FIRST]]`: holds the reader of sw-description against `swupdate -c`, on COUNT (10,000)
 * descriptions. Prints each disagreement, and ends with 1 where there is one.
 */
const [count = 10_000, first = 0] = process.argv.slice(2).map(Number)
let done = 0
let both = 0
const policies = new Map<string, number>()
const wrong: Verdict[] = []

await judge(first, count, 24, verdict => {
  done += 1
  if (verdict.theirs && verdict.ours.length === 0) both += 1
  if (verdict.theirs && verdict.ours.length > 0) {
    const why = verdict.ours[0]!.message.replace(/ \(line \d+\)$/, '').replace(/"[^"]*"|\b\d[\w.]*\b/g, '…')
    policies.set(why, (policies.get(why) ?? 0) + 1)
  }
  if (disagrees(verdict)) {
    wrong.push(verdict)
    console.log(JSON.stringify(verdict, null, 2))
  }
  if (done % 500 === 0) console.error(`${done} of ${count}`)
})

console.log(
  `${done} descriptions: both take ${both}, both refuse ${done - both - sum(policies) - wrong.filter(each => !each.theirs).length}, ${wrong.length} disagreements.`,
)
console.log('Taken by SWUpdate and refused by policy:')
for (const [why, times] of [...policies].sort((a, b) => b[1] - a[1]))
  console.log(`${String(times).padStart(6)}  ${why}`)
process.exitCode = wrong.length > 0 ? 1 : 0

function sum(map: ReadonlyMap<string, number>): number {
  return [...map.values()].reduce((total, each) => total + each, 0)
}
