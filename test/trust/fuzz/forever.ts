import fc from 'fast-check'
import { TARGETS } from './targets.ts'

/**
 * `npm run fuzz [-- SECONDS [NAME…]]`: new inputs until something is found, or for so long. What is found is printed with
 * the seed that finds it again, and the exit code is 1.
 */
const [seconds = 'Infinity', ...names] = process.argv.slice(2)
const end = performance.now() + Number(seconds) * 1000
const targets = TARGETS.filter(({ name }) => names.length === 0 || names.some(each => name.includes(each)))
let inputs = 0
for (let seed = Date.now() & 0x7fffffff; performance.now() < end; seed++) {
  for (const { name, property } of targets) {
    const details = await fc.check(property(), { seed, numRuns: 1000 })
    inputs += details.numRuns
    if (details.failed) {
      console.error(`${name}: seed ${seed}\n${fc.defaultReportMessage(details)}`)
      process.exit(1)
    }
  }
  process.stderr.write(`\r${inputs} inputs, nothing found`)
}
console.error(`\r${inputs} inputs, nothing found`)
