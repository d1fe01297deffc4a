import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { stripVTControlCharacters } from 'node:util'
import { type Bench, startBench } from '../bench/bench.ts'
import { BOOT_MS, Guest } from '../bench/qemu/guest.ts'
import { buildSystem } from '../bench/qemu/system.ts'

// The image as it is shipped: no shell, no log on the serial line.
let dir: string
let bench: Bench
let guest: Guest
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'qemu-'))
  bench = await startBench({ stateDir: join(dir, 'bench') })
  const system = await buildSystem(dir, { dev: false })
  guest = await Guest.flash({ id: 'pi1', bench, system: system.dir, image: system.image, dir: join(dir, 'guest') })
  await guest.card.put({ 'Pi Net.psk': '[Security]\nPassphrase=password\n' })
})
after(async () => {
  await guest?.powerCut()
  await bench?.stop()
  await rm(dir, { recursive: true, force: true })
})

/** From the kernel's start on. */
const lines = (text: string): string[] =>
  stripVTControlCharacters(text.slice(text.lastIndexOf('Starting kernel')))
    .split(/[\r\n]+/)
    .slice(1)
    .filter(line => line.trim() !== '')

test('the first boot says which slot, that the data partition grew, and that the device is connected', async () => {
  const machine = await guest.powerOn()
  await machine.waitFor(/pi-adu: slot a \(committed\), trial none\r?\n/, BOOT_MS)
  await machine.waitFor(/pi-adu: connected to [^\n]*\n/, BOOT_MS)
  const [grown = '', connected = '', ...more] = lines(machine.serial)
  console.log(`# ${connected}`)
  assert.match(grown, /^initramfs: data grown by \d+ MiB$/)
  assert.match(
    connected,
    /\[ *\d+\.\d\d\] pi-adu: connected to bench\.azure-devices\.net as pi1, address 10\.0\.2\.15 \(\w+\)$/,
  )
  assert.deepEqual(more, [])
})

test('a later boot has that one line; a hub that is gone is another one, with what keeps the device from its WLAN', async () => {
  await guest.powerCut()
  const machine = await guest.powerOn()
  const { end } = await machine.waitFor(/pi-adu: connected to [^\n]*\n/, BOOT_MS)
  assert.equal(lines(machine.serial).length, 1, machine.serial)
  await bench.hub.stop()
  const [line] = await machine.waitFor(/pi-adu: not connected to [^\n]*\n/, BOOT_MS, end)
  console.log(`# ${line.trim()}`)
  assert.match(line, /, address 10\.0\.2\.15 \(\w+\), WLAN: the kernel has found no radio\r*\n$/)
  assert.equal(lines(machine.serial).length, 2, machine.serial)
})
