import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { AssignmentFile } from '../../src/adapters/dps/assignment-file.ts'
import { ProvisionedIdentity } from '../../src/adapters/identity/provisioned.ts'
import { backOff } from '../../src/timing/back-off.ts'
import type { BenchHub } from '../bench/hub/hub.ts'
import { aHub, atEnd, tempDir } from '../hub/support.ts'
import { byKey, connects, dpsClient, hubOf, numbers } from './bench-device.ts'

// A fleet of the device's real adapters, in one process, on real sockets. Only the clocks of the devices are fake.

/** `DEVICES=1000 node --test dist/test/identity/thousand.test.js` takes about a minute. */
const DEVICES = Number(process.env.DEVICES ?? 150)
const MINUTE = 60_000
/** So many are at work together. They share a process with the bench, and each handshake must end within its time. */
const TOGETHER = 200
const OUTAGE = 10 * MINUTE

/** The way to the hub, which can be closed: devices then get the refusal of a port where nobody listens. */
class Way {
  readonly #sockets = new Set<Socket>()
  #server: Server
  readonly port: number
  readonly #to: number

  private constructor(server: Server, to: number) {
    this.#server = server
    this.port = (server.address() as AddressInfo).port
    this.#to = to
    this.#serve()
  }

  static async open(t: TestContext, to: number): Promise<Way> {
    const server = createServer().listen(0, 'localhost')
    await once(server, 'listening')
    const way = new Way(server, to)
    atEnd(t, () => way.close())
    return way
  }

  #serve(): void {
    this.#server.on('connection', socket => {
      const onward = connect(this.#to, 'localhost')
      for (const [each, other] of [
        [socket, onward],
        [onward, socket],
      ] as const) {
        this.#sockets.add(each)
        each.on('error', () => {})
        each.on('close', () => {
          this.#sockets.delete(each)
          other.destroy()
        })
        each.pipe(other)
      }
    })
  }

  async close(): Promise<void> {
    if (!this.#server.listening) return
    const closed = once(this.#server, 'close')
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }

  async reopen(): Promise<void> {
    this.#server = createServer().listen(this.port, 'localhost')
    await once(this.#server, 'listening')
    this.#serve()
  }
}

/** A device of the group, and its clock. */
function device(hub: BenchHub, folder: string, index: number) {
  const random = numbers(index)
  const id = `pi-${index}`
  const clock = { at: 0, monotonic: () => clock.at, now: () => new Date(), random }
  const log = { debug() {}, info() {}, warn() {}, error() {} }
  const auth = byKey(hub.provisioning.deviceKey('fleet', id))
  const options = {
    ...{ idScope: hub.provisioning.idScope, host: 'dps', spread: random(), issuing: undefined },
    credential: async () => ({ registrationId: id, auth, fingerprint: 'f' }),
    onboarding: dpsClient(hub),
  }
  const identity = new ProvisionedIdentity(options, new AssignmentFile(join(folder, id), log), clock, log)
  return { id, clock, agent: hubOf(hub, identity, 20_000) }
}

type Device = ReturnType<typeof device>

/** Until it is connected, with the agent's own pauses, on the device's clock. Returns how often it failed. */
async function persist({ clock, agent, id }: Device, until: number): Promise<number> {
  for (let failures = 0; ; ) {
    try {
      await connects(agent)
      return failures
    } catch (error) {
      assert.equal((error as Error).name, 'HubError', `${id}: ${error}`)
      failures += 1
      clock.at += backOff(failures, clock)
      if (clock.at >= until) return failures
    }
  }
}

test(`${DEVICES} devices in one go: one registration each, and none more after ten minutes without the hub`, async t => {
  const hub = await aHub(t)
  const folder = await tempDir(t)
  const way = await Way.open(t, hub.mqttPort)
  hub.provisioning.linkHub({ ...hub.assignable, name: 'reached', address: `localhost:${way.port}` })
  hub.provisioning.enrollGroup({
    ...{ enrollmentGroupId: 'fleet', iotHubs: ['reached'] },
    attestation: { type: 'symmetricKey' },
  })
  const devices = Array.from({ length: DEVICES }, (_, index) => device(hub, folder, index))
  const counts = () => [...new Set(devices.map(({ id }) => hub.provisioning.registrationsOf(id)))]

  const all = async (until: (one: Device) => number): Promise<number[]> => {
    const [failures, left]: [number[], Device[]] = [[], [...devices]]
    const worker = async () => {
      for (let one = left.pop(); one; one = left.pop()) failures.push(await persist(one, until(one)))
    }
    await Promise.all(Array.from({ length: TOGETHER }, worker))
    return failures
  }
  const connected = async () => assert.deepEqual([...new Set(await all(() => Number.POSITIVE_INFINITY))], [0])

  await connected()
  assert.deepEqual(counts(), [1])

  await way.close()
  for (const { clock } of devices) clock.at = 5 * 60 * MINUTE
  const refusals = await all(({ clock }) => clock.at + OUTAGE)
  assert.ok(Math.min(...refusals) >= 8, `${refusals} attempts in the outage`)
  assert.deepEqual(counts(), [1], 'in the outage')

  await way.reopen()
  await connected()
  assert.deepEqual(counts(), [1], 'after the outage')
  const { user, system } = process.cpuUsage()
  const attempts = refusals.reduce((sum, one) => sum + one)
  t.diagnostic(`${attempts} attempts in the outage, ${Math.round((user + system) / 1e6)} s of processor time`)
})
