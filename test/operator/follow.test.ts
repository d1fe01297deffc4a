import assert from 'node:assert/strict'
import test from 'node:test'
import { EXIT, Failure } from '../../src/operator/failure.ts'
import { follow, Stopped } from '../../src/operator/follow.ts'
import { HubFailure } from '../../src/operator/hub-service.ts'

const options = { interval: 1, patience: 60_000, timeout: 60_000 }
const never = new AbortController().signal
const away = (): Promise<undefined> => Promise.reject(new HubFailure(EXIT.unavailable, 'the hub is away', true))

test('failures that pass are reported and tolerated, and the result comes in the end', async () => {
  const answers = [away, async () => undefined, away, away, async () => 'done']
  const trouble: string[] = []
  const look = (): Promise<string | undefined> => answers.shift()!()
  assert.equal(await follow(look, why => trouble.push(why), options, never), 'done')
  assert.deepEqual(trouble, Array(3).fill('the hub is away'))
})

test('a hub that is away for too long, one that refuses, and a bug end it', async () => {
  await assert.rejects(
    follow(away, () => {}, { ...options, patience: -1 }, never),
    /the hub is away/,
  )
  const refusal = new HubFailure(EXIT.denied, 'no', false)
  await assert.rejects(
    follow(() => Promise.reject(refusal), assert.fail, options, never),
    error => error === refusal,
  )
  await assert.rejects(
    follow(() => Promise.reject(new TypeError('a bug')), assert.fail, options, never),
    TypeError,
  )
})

test('the timeout and Ctrl-C hold while the hub does not answer', async () => {
  const hangs = (): Promise<undefined> => new Promise(() => {})
  await assert.rejects(
    follow(hangs, assert.fail, { ...options, timeout: 20 }, never),
    (error: unknown) => error instanceof Failure && error.exitCode === EXIT.unavailable,
  )
  await assert.rejects(follow(hangs, assert.fail, options, AbortSignal.timeout(20)), Stopped)
  await assert.rejects(follow(hangs, assert.fail, options, AbortSignal.abort()), Stopped)
})

test('a timeout that is longer than a timer can run is no end', async () => {
  const looks = [undefined, undefined, 'done']
  assert.equal(await follow(async () => looks.shift(), assert.fail, { ...options, timeout: 1e12 }, never), 'done')
})
