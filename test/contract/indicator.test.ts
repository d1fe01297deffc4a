import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, beforeEach } from 'node:test'
import { checkLed, KernelLed } from '../../src/adapters/gpio/kernel-led.ts'
import { BoardLights, gpioLight, openLights } from '../../src/adapters/gpio/lights.ts'
import { globalNumber } from '../../src/adapters/gpio/line-number.ts'

const folder = await mkdtemp(join(tmpdir(), 'gpio-'))
after(() => rm(folder, { recursive: true }))

const events: [string, unknown][] = []
beforeEach(() => void events.splice(0))
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
  await assert.rejects(globalNumber(17, join(folder, 'empty')), { message: /no Raspberry Pi GPIO chip/ })
})

test('lights that cannot be had cost the light only: one line each, and the kernel LEDs that there are', async () => {
  const lights = await openLights(
    [
      { gpio: 17, role: 'status', activeLow: false },
      { led: 'no-such-led', role: 'fault', brightness: 100, whenStopped: undefined },
    ],
    log,
  )
  lights.set({ status: true, activity: true, fault: true })
  lights.end()
  assert.deepEqual(
    events.map(([event]) => event),
    ['led.unavailable', 'led.unavailable'],
  )
  assert.match(JSON.stringify(events[1]), /no \/sys\/class\/leds\/no-such-led; this board has /)
})

test('each light shows its role, and a broken one costs its light only, once', () => {
  const written: string[] = []
  const line = (name: string) => ({ writeSync: (value: number) => void written.push(`${name}${value}`) })
  const busy = {
    writeSync() {
      throw new Error('EBUSY')
    },
  }
  const lights = new BoardLights(
    [
      { name: 'busy', role: 'status', light: gpioLight(busy) },
      { name: 'one', role: 'status', light: gpioLight(line('s')) },
      { name: 'two', role: 'fault', light: gpioLight(line('f')) },
      { name: 'three', role: 'status', light: gpioLight(line('t')) },
    ],
    log,
  )
  lights.set({ status: true, activity: false, fault: false })
  assert.deepEqual(written.splice(0), ['s1', 'f0', 't1'])
  lights.set({ status: false, activity: false, fault: true })
  assert.deepEqual(written.splice(0), ['s0', 'f1', 't0'])
  lights.end()
  assert.deepEqual(written.splice(0), ['s0', 'f0', 't0'], 'they go out at the end')
  lights.set({ status: true, activity: true, fault: true })
  assert.deepEqual(written, [], 'after the end nothing is written')
  assert.deepEqual(events, [['led.unavailable', { led: 'busy', why: 'EBUSY' }]])
})

async function led(name: string, trigger: string): Promise<(file: string) => Promise<string>> {
  await mkdir(join(folder, 'leds', name), { recursive: true })
  const files = { trigger, max_brightness: '255', brightness: '' }
  for (const [file, text] of Object.entries(files)) await writeFile(join(folder, 'leds', name, file), `${text}\n`)
  return async file => (await readFile(join(folder, 'leds', name, file), 'utf8')).trim()
}

test('an LED of the kernel is taken from its trigger, and given back', async () => {
  const read = await led('ACT', 'none heartbeat timer [mmc0]')
  const light = new KernelLed({ led: 'ACT', brightness: 20, whenStopped: undefined }, join(folder, 'leds'), folder)
  assert.equal(await read('trigger'), 'none')
  light.set(true)
  assert.equal(await read('brightness'), '51')
  light.end()
  assert.match(await read('brightness'), /^0/)
  assert.equal(await read('trigger'), 'mmc0')
})

test('an LED that cannot be lit keeps its trigger, and one that cannot be put out gets it back', async () => {
  const read = await led('dark', 'none heartbeat [mmc0]')
  const open = () => new KernelLed({ led: 'dark', brightness: 1, whenStopped: undefined }, join(folder, 'leds'), folder)
  await rm(join(folder, 'leds/dark/brightness'))
  await mkdir(join(folder, 'leds/dark/brightness'))
  assert.throws(open, { code: 'EISDIR' })
  assert.equal(await read('trigger'), 'none heartbeat [mmc0]')
  await rm(join(folder, 'leds/dark/brightness'), { recursive: true })
  // Takes no byte, as an LED that was unplugged.
  await symlink('/dev/full', join(folder, 'leds/dark/brightness'))
  assert.throws(() => open().end(), { code: 'ENOSPC' })
  assert.equal(await read('trigger'), 'mmc0')
})

test('at the end it may get the heartbeat of the kernel: the machine lives, and the agent does not', async () => {
  const read = await led('ACT', 'none heartbeat [mmc0]')
  const open = (whenStopped: string) =>
    new KernelLed({ led: 'ACT', brightness: 1, whenStopped }, join(folder, 'leds'), folder)
  const light = open('heartbeat')
  light.set(true)
  assert.match(await read('brightness'), /^3/)
  light.end()
  assert.equal(await read('trigger'), 'heartbeat')
  await led('ACT', 'none heartbeat [mmc0]')
  assert.throws(() => open('beat'), { message: 'the kernel has no LED trigger "beat"' })
  assert.equal(await read('trigger'), 'none heartbeat [mmc0]')
})

test('an agent that was killed could not give it back: the next one does', async () => {
  const read = await led('killed', 'none heartbeat [mmc0]')
  const open = () =>
    new KernelLed({ led: 'killed', brightness: 1, whenStopped: undefined }, join(folder, 'leds'), folder)
  open()
  await led('killed', '[none] heartbeat mmc0')
  open()
  // Killed once more.
  await led('killed', '[none] heartbeat mmc0')
  open().end()
  assert.equal(await read('trigger'), 'mmc0')
  // Somebody has taken the trigger away for good.
  await led('killed', '[none] heartbeat mmc0')
  open().end()
  assert.equal(await read('trigger'), 'none')
  // A note that is no trigger of this kernel, and one that cannot be written.
  await led('killed', '[none] heartbeat mmc0')
  await writeFile(join(folder, 'led-killed'), 'beat')
  open().end()
  assert.equal(await read('trigger'), 'none')
  await led('killed', 'none heartbeat [mmc0]')
  // A link is not followed.
  await rm(join(folder, 'led-killed'), { force: true })
  await writeFile(join(folder, 'journal'), 'kept')
  await symlink(join(folder, 'journal'), join(folder, 'led-killed'))
  open().end()
  assert.equal(await readFile(join(folder, 'journal'), 'utf8'), 'kept')
  await led('killed', 'none heartbeat [mmc0]')
  const nowhere = join(folder, 'nowhere')
  const options = { led: 'killed', brightness: 1, whenStopped: undefined }
  new KernelLed(options, join(folder, 'leds'), nowhere).end()
  assert.equal(await read('trigger'), 'mmc0')
  await rm(join(folder, 'leds', 'killed'), { recursive: true })
})

test('an LED that is not there is refused by the names of those that are', async () => {
  await led('PWR', '[none]')
  await checkLed('PWR', join(folder, 'leds'))
  await assert.rejects(checkLed('led0', join(folder, 'leds')), { message: /no .*led0; this board has ACT, PWR/ })
})
