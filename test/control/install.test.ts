import assert from 'node:assert/strict'
import test from 'node:test'
import { End } from '../../src/cli/order/install.ts'
import type { ToldEvent } from '../../src/view/event.ts'

const at = (second: number) => ({ n: second, uptime: second, time: `2026-01-01T00:00:0${second}.000Z` })
const taken = (second: number, origin: string, workflowId: string): ToldEvent => ({
  ...{ event: 'deployment.taken', kind: 'once', origin, workflowId },
  ...at(second),
})
const result = (second: number, workflowId: string, resultCode: number): ToldEvent => ({
  ...{ event: 'result', workflowId, resultCode, extendedResultCodes: '', resultDetails: '' },
  ...at(second),
})
const reboot = (second: number): ToldEvent => ({ event: 'reboot', why: 'trial', ...at(second) })

/** The event that ends the watching, of the update L1. */
function ends(events: readonly ToldEvent[]) {
  const end = new End('L1')
  const last = events.find(event => end.sees(event))
  return { n: last?.n, failed: end.failed, reboots: end.reboots }
}

test('what is still under way after the end changes nothing', () => {
  const end = new End('L1')
  for (const event of [taken(4, 'local', 'L1'), reboot(5)]) end.sees(event)
  assert.equal(end.sees({ event: 'agent.stopped', signal: 'SIGTERM', ...at(6) }), true)
  assert.equal(end.reboots, true)
})

test('pi-adu install follows its own update, to the result or to the reboot', () => {
  const older = [taken(1, 'local', 'L0'), reboot(2), result(2, 'L0', 700)]
  assert.deepEqual(ends([...older, taken(4, 'local', 'L1'), reboot(5)]), { n: 5, failed: false, reboots: true })
  assert.deepEqual(ends([...older, taken(4, 'local', 'L1'), result(6, 'L1', 0)]), {
    n: 6,
    failed: true,
    reboots: false,
  })
  assert.deepEqual(ends([taken(4, 'local', 'L1'), result(6, 'L1', 700)]), { n: 6, failed: false, reboots: false })
  // The clock may have been set back since the order.
  assert.equal(ends([taken(9, 'local', 'L1'), { ...result(2, 'L1', 700), n: 10 }]).n, 10)
  assert.equal(ends([...older, taken(4, 'deviceUpdate', 'W1'), result(5, 'W1', 0)]).n, undefined)
  assert.equal(ends([...older, reboot(5)]).n, undefined)
})
