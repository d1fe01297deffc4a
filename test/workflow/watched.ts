import assert from 'node:assert/strict'
import { types } from 'node:util'

/** Does `work`, or lets something happen before, after or instead of it. `effect`: `port.member`, of an iteration also its end. */
export type Watcher = <T>(effect: string, work: () => Promise<T>) => Promise<T>

/**
 * Finds the effects of a port by itself: each call of an async function, and begin and end of each iteration, also of what a
 * call gives. What takes no time is none; so a function that gives a promise must be an async one.
 */
export function watched<T extends object>(port: string, target: T, watcher: Watcher): T {
  return new Proxy(target, {
    get(_, key) {
      const value: unknown = Reflect.get(target, key)
      const effect = `${port}.${String(key)}`
      if (isIterable(value)) return iterated(effect, value, watcher)
      if (typeof value !== 'function') return value
      return (...args: unknown[]) => {
        const work = () => value.apply(target, args)
        if (types.isGeneratorFunction(value)) return iterated(effect, work(), watcher)
        if (types.isAsyncFunction(value)) return watcher(effect, async () => within(port, await work(), watcher))
        const result = work()
        assert.ok(!types.isPromise(result) && !isIterable(result), `${effect} takes time, and is no async function`)
        return result
      }
    },
  })
}

/** What a call gives may have effects of its own. */
function within<T>(port: string, result: T, watcher: Watcher): T {
  const isPlain = typeof result === 'object' && result !== null && Object.getPrototypeOf(result) === Object.prototype
  if (!isPlain) return result
  const isPort = Object.values(result).some(each => typeof each === 'function' || isIterable(each))
  return isPort ? watched(port, result, watcher) : result
}

async function* iterated(effect: string, bytes: AsyncIterable<unknown>, watcher: Watcher): AsyncGenerator<unknown> {
  await watcher(effect, async () => {})
  yield* bytes
  await watcher(`${effect}-end`, async () => {})
}

const isIterable = (value: unknown): value is AsyncIterable<unknown> =>
  typeof value === 'object' && value !== null && Symbol.asyncIterator in value
