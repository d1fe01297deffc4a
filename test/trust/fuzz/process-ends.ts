import fc from 'fast-check'
import { documents, put } from './whole-agent.ts'

/**
 * `node dist/test/trust/fuzz/process-ends.js [COUNT]`: new documents each time, 100,000 unless told; prints how many of them would
 * have ended the agent's process, or left the twin without an answer, and each of those. Exit code 1 when there is one.
 */
const count = Number(process.argv[2] ?? 100_000)
const seed = Date.now() & 0x7fffffff
let [tried, ends] = [0, 0]
process.on('uncaughtException', error => {
  ends += 1
  console.error(`uncaught: ${error.stack}`)
})
for (; tried < count; ) {
  // Each from a seed of its own: so that it can be found again, and none is kept.
  const [given] = fc.sample(documents, { seed: seed + tried, numRuns: 1 })
  if (!given) break
  tried += 1
  try {
    await put(given)
  } catch (error) {
    ends += 1
    const { cause } = error as Error
    console.error(`seed ${seed + tried - 1}: ${error}: ${cause instanceof Error ? cause.stack : cause}`)
    console.error(fc.stringify(given).slice(0, 2000))
  }
  if (tried % 1000 === 0) console.error(`${tried} documents, ${ends} ends`)
}
console.log(JSON.stringify({ documents: tried, ends }))
process.exit(ends > 0 ? 1 : 0)
