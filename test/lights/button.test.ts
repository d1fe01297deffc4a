import assert from 'node:assert/strict'
import test from 'node:test'
import { type ButtonLine, buttonLine, watchButton } from '../../src/adapters/gpio/button.ts'
import { Publisher } from '../../src/control/publisher.ts'
import { Requests } from '../../src/control/requests.ts'
import { Presses } from '../../src/lights/button.ts'
import { moodOf } from '../../src/lights/mood.ts'
import { VirtualClock } from '../workflow/virtual-clock.ts'

/** Lets time pass; the clock itself stands still while nothing waits. */
async function passes(clock: VirtualClock, milliseconds: number): Promise<void> {
  let isOver = false
  const { signal } = new AbortController()
  void clock.sleep(milliseconds, signal).then(() => {
    isOver = true
  })
  await clock.passUntil(() => isOver, milliseconds)
}

/** A line with a button, whose edges the test makes. */
function board(first: 0 | 1 = 0) {
  const clock = new VirtualClock()
  const seen: string[] = []
  const warned: string[] = []
  const log = { debug() {}, info() {}, warn: (event: string) => void warned.push(event), error() {} }
  const listeners: Parameters<ButtonLine['watch']>[0][] = []
  let level = first
  const line: ButtonLine = {
    readSync: () => level,
    watch: callback => void listeners.push(callback),
    unexport: () => void seen.push('unexport'),
  }
  const note = (what: string) => () => void seen.push(`${what} ${clock.monotonic()}`)
  const options = { long: 5000, tooLong: 30_000, onShort: note('short'), onHeld: note('held'), onLong: note('long') }
  const end = watchButton(line, isPressed => new Presses(isPressed, clock, options), log)
  const edge = (value: 0 | 1, error?: Error): void => {
    level = value
    for (const listener of listeners) listener(error, value)
  }
  const pass = (milliseconds: number) => passes(clock, milliseconds)
  const press = async (milliseconds: number): Promise<void> => {
    edge(1)
    await pass(milliseconds)
    edge(0)
    await pass(1)
  }
  return { clock, seen, warned, edge, pass, press, end, options }
}

test('a short press, a long one that is acknowledged while it lasts, and one that is too long', async () => {
  const { seen, press, clock } = board()
  await press(200)
  assert.deepEqual(seen.splice(0), ['short 200'])
  await press(4999)
  assert.deepEqual(seen.splice(0), ['short 5200'])
  await press(7000)
  assert.deepEqual(seen.splice(0), ['held 10201', 'long 12201'])
  await press(30_000)
  assert.deepEqual(seen.splice(0), ['held 17202'])
  await press(100)
  assert.equal(seen.length, 1, 'it works afterwards')
  assert.equal(clock.timers, 0)
})

test('a button that is held at power-on does nothing, however long, and works after it was released', async () => {
  const { seen, edge, pass, press } = board(1)
  await pass(6000)
  edge(1)
  await pass(6000)
  edge(0)
  await pass(1)
  assert.deepEqual(seen, [])
  await press(100)
  assert.deepEqual(seen, ['short 12101'])
})

test('a button that is stuck orders nothing', async () => {
  const { seen, edge, pass } = board()
  edge(1)
  await pass(86_400_000)
  assert.deepEqual(seen, ['held 5000'])
})

test('levels that come twice are no edges', async () => {
  const { seen, edge, pass } = board()
  edge(0)
  edge(1)
  await pass(3000)
  edge(1)
  await pass(3000)
  edge(0)
  edge(0)
  assert.deepEqual(seen, ['held 5000', 'long 6000'])
})

test('after the end, or an error of the line, nothing is ordered; the error is logged once', async () => {
  const { seen, warned, edge, pass, end } = board()
  edge(1)
  end()
  edge(0)
  await pass(10_000)
  assert.deepEqual(seen, ['unexport'])
  const broken = board()
  broken.edge(1, new Error('EIO'))
  broken.edge(0, new Error('EIO'))
  broken.edge(1)
  await broken.pass(10_000)
  assert.deepEqual([broken.seen, broken.warned], [['unexport'], ['button.unavailable']])
  assert.deepEqual(warned, [])
})

test('a board without the pin costs the button only', async () => {
  const warned: string[] = []
  const log = { debug() {}, info() {}, warn: (event: string) => void warned.push(event), error() {} }
  assert.equal(await buttonLine({ gpio: 53, activeLow: true, debounceMilliseconds: 30 }, log), undefined)
  assert.deepEqual(warned, ['button.unavailable'])
})

test('what is ordered goes through the requests of the control socket, and the lights say when a press was long enough', async () => {
  const log = { debug() {}, info() {}, warn() {}, error() {} }
  const publisher = new Publisher(log)
  const asked: string[] = []
  const gates = {
    consent: async () => true as const,
    hold: () => () => {},
    keep: async () => true,
    unlock: async () => false,
  }
  const engine = {
    wake() {},
    install: async () => assert.fail('not asked for'),
    ask: async (command: string) => {
      asked.push(command)
      return { is: 'begun' } as const
    },
  }
  const requests = new Requests(gates, publisher, engine, log)
  const { signal } = new AbortController()
  const clock = new VirtualClock()
  const presses = new Presses(false, clock, {
    ...{ long: 5000, tooLong: 30_000 },
    onShort: () => void requests.answer({ do: 'consent' }, signal),
    onHeld: () => void requests.answer({ do: 'identify', seconds: 3 }, signal),
    onLong: () => void requests.answer({ do: 'rollback' }, signal),
  })
  presses.level(true)
  await passes(clock, 5500)
  assert.equal(moodOf(publisher.view, 0), 'identify')
  assert.deepEqual(asked, [], 'not before it is released')
  presses.level(false)
  await passes(clock, 1)
  assert.deepEqual(asked, ['rollback'])
})
