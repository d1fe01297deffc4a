import assert from 'node:assert/strict'
import test from 'node:test'
import { addresses, addressNews } from '../../src/adapters/system/addresses.ts'
import { VirtualClock } from '../workflow/virtual-clock.ts'

test('news are an address that was not there at the look before: a new one, or one that was gone', async () => {
  const clock = new VirtualClock()
  let given = ['eth0 192.0.2.1']
  const watch = addressNews(clock, () => given).watch()
  const never = new AbortController().signal
  let news = 0
  const listen = (): void => void watch(never).then(() => (news += 1))
  const pass = async (): Promise<void> => {
    let over = false
    clock.sleep(10_000, never).then(() => (over = true))
    await clock.passUntil(() => over, 10_000)
  }

  listen()
  await pass()
  assert.equal(news, 0, 'nothing changed')
  given = ['eth0 192.0.2.1', 'wlan0 192.0.2.7']
  await pass()
  assert.equal(news, 1, 'another interface')
  // Nobody listens while an attempt runs.
  given = []
  listen()
  await pass()
  assert.equal(news, 1, 'an address that goes is none')
  given = ['wlan0 192.0.2.7']
  await pass()
  assert.equal(news, 2, 'the same one again')
  given = ['wlan0 2001:db8::7']
  listen()
  await pass()
  assert.equal(news, 3, 'another one while nobody listened')
})

test('the watch ends with the reason of the signal', async () => {
  const clock = new VirtualClock()
  const stop = new AbortController()
  const ended = assert.rejects(addressNews(clock, () => []).watch()(stop.signal), { message: 'enough' })
  stop.abort(new Error('enough'))
  await ended
  assert.equal(clock.timers, 0)
})

test('the addresses of this machine are those of other machines’ making', () => {
  for (const each of addresses()) assert.doesNotMatch(each, / (127\.|::1$|169\.254\.|fe80:)/)
})
