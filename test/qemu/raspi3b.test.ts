import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { makeBundle } from '../../image/builder/bundle.ts'
import { run } from '../../image/builder/run.ts'
import type { Mood } from '../../src/view/event.ts'
import type { Guest } from '../bench/qemu/guest.ts'
import { recognised, type Sample, timesIn } from '../lights/rhythms.ts'
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
  const piAdu = { leds: { green: GREEN, red: RED }, content: { stallSeconds: 600 } }
  guest = await fleet.flash({ board: 'raspi3b', piAdu })
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

/** What the pin shows, to somebody who knows nothing but the documented patterns. */
async function shown(wanted: Mood): Promise<void> {
  const samples: Sample[] = []
  const begun = performance.now()
  let seen: Mood | undefined
  let recent: Sample[] = []
  for (const limit = Date.now() + 240_000; seen !== wanted && Date.now() < limit; ) {
    for (const end = Date.now() + 5000; Date.now() < end; await sleep(10))
      samples.push([performance.now() - begun, (await level()) === 1])
    // As long as four cycles of the longest pattern.
    recent = samples.filter(([at]) => at > performance.now() - begun - 20_000)
    seen = recognised(recent)
  }
  const times = timesIn(recent).map(Math.round).join(' ')
  assert.equal(seen, wanted, `the pin shows ${seen}, not ${wanted}; ms lit, dark, lit, …: ${times}`)
}

test('the light of the agent is the level of the pin, and its rhythm is the one for a device that is online', async () => {
  await guest.waitForEvent('mood', BOOT_MS, { is: ({ mood }) => mood === 'online' })
  await shown('online')
  assert.equal(await level(RED), 0)
})

test('during a real installation the pin says not to cut the power, and after its cancel that all is well', async () => {
  const image = join(fleet.dir, 'small.zst')
  await run(['sh', '-c', 'head -c 4194304 /dev/urandom | zstd -q -1 > "$1"', 'sh', image])
  const bundle = join(fleet.dir, 'small.swu')
  await makeBundle(bundle, { version: '2.0.0', image, signer: fleet.system.signer })
  const update = await fleet.import(bundle, '2.0.0')
  const { faults } = fleet.bench.content
  // It waits for the rest while somebody looks: downloading keeps the emulated cores so busy that the rhythm of the light suffers.
  faults['*'] = { stallAfter: 1_000_000 }
  const from = guest.machine!.now
  fleet.deploy(update)
  try {
    await guest.waitForEvent('mood', BOOT_MS, { from, is: ({ mood }) => mood === 'writing' })
    await guest.waitForEvent('install.progress', BOOT_MS, { from })
    await shown('writing')
    assert.equal(guest.events('install.end', from).length, 0)
  } finally {
    // The next tests need a device without an installation.
    fleet.bench.cancel(fleet.id)
    delete faults['*']
  }
  const cancelled = guest.machine!.now
  await guest.waitForEvent('mood', BOOT_MS, { from: cancelled, is: ({ mood }) => mood === 'online' })
  await shown('online')
})

test('it has another rhythm while the agent looks for a hub that is gone', async () => {
  const from = guest.machine!.now
  fleet.bench.hub.faults.inject({ kind: 'refuseConnections', times: 'always', how: 'unavailable' })
  fleet.bench.hub.faults.inject({ kind: 'dropSockets' })
  await guest.waitForEvent('mood', BOOT_MS, { from, is: ({ mood }) => mood === 'offline' })
  await shown('offline')
})

test('green and red are lit for a configuration that does not parse, and stay so, as no agent runs', async () => {
  const machine = guest.machine!
  await machine.login(BOOT_MS)
  // It goes out with the agent.
  await machine.shell('systemctl stop pi-adu-agent', BOOT_MS)
  for (let looks = 0; looks < 10; looks += 1) assert.equal(await level(), 0)
  const commands = [
    'sed -i "1s/{/{{/" /data/adu/du-config.json',
    'systemctl start pi-adu-agent',
    'systemctl show -P ActiveState -P ExecMainStatus pi-adu-agent | sort | tr "\\n" " "',
  ]
  const { output } = await machine.shell(commands.join('; '), BOOT_MS)
  assert.match(output, /78 failed/)
  for (const pin of [GREEN, RED]) assert.equal(await level(pin), 1, `GPIO ${pin}`)
})
