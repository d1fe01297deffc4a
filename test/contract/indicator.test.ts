import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after } from 'node:test'
import { globalNumber, Leds, openLeds } from '../../src/adapters/leds.ts'

const folder = await mkdtemp(join(tmpdir(), 'gpio-'))
after(() => rm(folder, { recursive: true }))

const events: [string, unknown][] = []
const log = {
  debug() {},
  info() {},
  warn: (event: string, fields?: unknown) => void events.push([event, fields]),
  error() {},
}

async function chip(name: string, label: string, base: number, ngpio: number): Promise<void> {
  await mkdir(join(folder, name), { recursive: true })
  for (const [file, text] of Object.entries({ label, base, ngpio }))
    await writeFile(join(folder, name, file), `${text}\n`)
}

test('a BCM number becomes the global one of its chip', async () => {
  await chip('gpiochip512', 'pinctrl-bcm2835', 512, 54)
  await chip('gpiochip566', 'raspberrypi-exp-gpio', 566, 8)
  assert.equal(await globalNumber(17, folder), 529)
  await assert.rejects(globalNumber(54, folder), { message: 'this board has no GPIO 54' })
})

test('a board that is no Pi has no pins', async () => {
  await mkdir(join(folder, 'empty'))
  await assert.rejects(globalNumber(17, join(folder, 'empty')), { message: /no chip of a Raspberry Pi/ })
})

test('a pin that cannot be had costs the light only', async () => {
  events.length = 0
  const leds = await openLeds({ green: 17, red: undefined, activeLow: false }, log)
  leds.show('installing')
  assert.deepEqual(
    events.map(([event]) => event),
    ['led.unavailable'],
  )
})

test('moods light the colours, a steady one once, and a broken line costs the light only', () => {
  const written: string[] = []
  const line = (name: string) => ({ writeSync: (value: number) => void written.push(`${name}${value}`) })
  const leds = new Leds({ green: line('g') as never, red: line('r') as never }, log)
  leds.show('failed')
  leds.show('failed')
  assert.deepEqual(written, ['g1', 'r1'])
  leds.show('idle')
  assert.deepEqual(written.slice(2), ['g1', 'r0'])
  events.length = 0
  const busy = {
    writeSync() {
      throw new Error('EBUSY')
    },
  }
  new Leds({ green: busy as never, red: undefined }, log).show('trial')
  assert.deepEqual(
    events.map(([event]) => event),
    ['led.unavailable'],
  )
})
