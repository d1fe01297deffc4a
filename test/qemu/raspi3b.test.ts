import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Guest } from '../bench/qemu/guest.ts'
import { Fleet } from './fleet.ts'

// One core emulates four here, and U-Boot reads the kernel from an SD card bit by bit.
const BOOT_MS = 900_000
const [GREEN, RED] = [17, 18]
/** GPLEV0 (BCM2835 ARM Peripherals, 6.1): the levels of GPIO 0 to 31. */
const LEVELS = '0x3f200034'

let fleet: Fleet
let guest: Guest
before(async () => {
  fleet = await Fleet.make()
  guest = await fleet.flash({ board: 'raspi3b', piAdu: { leds: { green: GREEN, red: RED } } })
})
after(async () => {
  await guest?.powerCut()
  await fleet?.end()
})

/** As the pin is, not as the agent says it is. */
async function level(pin = GREEN): Promise<number> {
  const answer = await guest.machine!.monitor(`xp /1wx ${LEVELS}`)
  const word = /: (0x[0-9a-f]{8})/.exec(answer)?.[1]
  if (word === undefined) throw new Error(`the monitor says: ${answer}`)
  return (Number(word) >> pin) & 1
}

test('the image boots through U-Boot on a Pi 3, and the agent connects', async () => {
  const started = performance.now()
  const machine = await guest.powerOn()
  // What a talking HAT sends does not lead to U-Boot's prompt.
  const noise = setInterval(() => machine.send(' \r'), 200)
  await machine.waitFor(/pi-adu: slot a \(committed\)/, BOOT_MS).finally(() => clearInterval(noise))
  console.log(`# raspi3b: power-on to the boot script: ${((performance.now() - started) / 1000).toFixed(1)} s`)
  await fleet.connected(BOOT_MS)
  console.log(`# raspi3b: power-on to connected: ${((performance.now() - started) / 1000).toFixed(1)} s`)
})

test('the light of the agent is the level of the pin: steady when idle', async () => {
  await guest.machine!.waitFor(/"mood":"idle"/, BOOT_MS)
  const levels: number[] = []
  for (let i = 0; i < 10; i++) {
    levels.push(await level())
    await sleep(300)
  }
  assert.deepEqual([...new Set(levels)], [1])
})

test('it blinks while the agent looks for a hub that is gone', async () => {
  const from = guest.machine!.now
  fleet.bench.hub.faults.inject({ kind: 'refuseConnections', times: 'always', how: 'unavailable' })
  fleet.bench.hub.faults.inject({ kind: 'dropSockets' })
  await guest.machine!.waitFor(/"mood":"connecting"/, BOOT_MS, from)
  const seen = new Set<number>()
  for (const limit = Date.now() + 120_000; seen.size < 2 && Date.now() < limit; await sleep(30)) seen.add(await level())
  assert.deepEqual([...seen].sort(), [0, 1])
})

test('green and red light up for a configuration that does not parse, and stay when the agent has ended', async () => {
  const machine = guest.machine!
  await machine.login(BOOT_MS)
  const commands = [
    'systemctl stop pi-adu-agent',
    'sed -i "1s/{/{{/" /data/adu/du-config.json',
    'systemctl start pi-adu-agent',
    'systemctl show -P ActiveState -P ExecMainStatus pi-adu-agent | sort | tr "\\n" " "',
  ]
  const { output } = await machine.shell(commands.join('; '), BOOT_MS)
  assert.match(output, /78 failed/)
  for (const pin of [GREEN, RED]) assert.equal(await level(pin), 1, `GPIO ${pin}`)
})
