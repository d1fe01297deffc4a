import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { repositoryRoot } from '../../../image/builder/repository.ts'
import type { Verb } from '../../../src/ports/steps.ts'
import { Microcontroller } from './microcontroller.ts'
import { withHandler } from './support.ts'

/** The example of the page, for the Node of this test. */
async function flasher(): Promise<string> {
  const text = await readFile(join(repositoryRoot(), 'test/steps/own/flasher.mjs'), 'utf8')
  assert.match(text, /^#!\/usr\/bin\/node\n/)
  return text.replace('/usr/bin/node', process.execPath)
}

async function aFlasher(t: TestContext) {
  const found = await withHandler(t, await flasher())
  const device = await new Microcontroller(join(found.service.dir, 'line')).start()
  t.after(() => device.stop())
  const flash = (verb: Verb, content?: string) =>
    found.run(verb, { port: device.port, installedCriteria: '2' }, content)
  return { ...found, device, flash }
}

test('a signed step flashes the microcontroller, block by block, and finds it installed afterwards', async t => {
  const { device, flash, seen } = await aFlasher(t)
  const firmware = `2\n${'x'.repeat(2000)}`
  assert.match(await flash('isInstalled', firmware), /^901 /)
  assert.match(await flash('download', firmware), /^500 /)
  assert.match(await flash('install', firmware), /^600 /)
  assert.match(await flash('apply', firmware), /^700 /)
  assert.equal(device.image.toString(), firmware)
  assert.match(await flash('isInstalled', firmware), /^900 /)
  assert.deepEqual([seen.at(-1), seen.length], [100, 4])
  assert.deepEqual(device.heard, ['VERSION', 'BEGIN', 'DATA', 'DATA', 'DATA', 'DATA', 'END', 'VERSION'])
})

test('a busy microcontroller is tried again, up to a limit', async t => {
  const { device, flash } = await aFlasher(t)
  device.faults.busy = 2
  assert.match(await flash('install'), /^600 /)
  assert.equal(device.heard.filter(word => word === 'BEGIN').length, 3)
  device.faults.busy = 100
  assert.match(
    await flash('install'),
    /^0 321000F7 .*called 3 times and asks to be tried again; it said: the microcontroller is busy$/,
  )
})

test('an image that arrives damaged is not started, and the report says so', async t => {
  const { device, flash } = await aFlasher(t)
  device.faults.corrupt = true
  assert.match(await flash('install'), /^0 32200001 .*refused the image: ERROR checksum$/)
  assert.equal(device.image.toString(), '1\n')
})

test('a microcontroller that stops answering fails the step', async t => {
  const { device, flash } = await aFlasher(t)
  device.faults.deaf = true
  assert.match(await flash('install'), /^0 321000F6 .*failed with exit code 1; it said: no answer to DATA in 2000 ms$/)
})
