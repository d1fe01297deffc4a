import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import test from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { AgentError, ContentError, HubError } from '../../src/domain/errors.ts'
import { Hosts } from '../../src/domain/hosts.ts'
import { EXTENDED_RESULT_CODE } from '../../src/domain/result-codes.ts'
import { mergePatch } from '../../src/hub/merge-patch.ts'
import type { Reported } from '../../src/ports/hub.ts'
import type { Log } from '../../src/ports/log.ts'
import type { LogUpload } from '../../src/ports/log-upload.ts'
import { LogCollection } from '../../src/twin/log-collection.ts'
import { readLogRequest } from '../../src/twin/log-request.ts'
import { VirtualClock } from '../workflow/virtual-clock.ts'

const SECRET = 'TopSecretSignature'
const URL = `https://acct.blob.core.windows.net/logs?sv=2021&sp=cw&sig=${SECRET}`
const hosts = new Hosts('piAdu.diagnostics.allowedHosts', ['*.blob.core.windows.net'])

let version = 1
const asking = (operationId: unknown, storageSasUrl: unknown = URL) => ({
  $version: version++,
  diagnosticInformation: { __t: 'c', service: { operationId, storageSasUrl } },
})

class PowerCut extends Error {}

/** A device with its disk, a storage and a hub, over any number of processes. */
class World {
  readonly clock = new VirtualClock()
  readonly lines: string[] = []
  readonly bundle = randomBytes(300_000)
  readonly opened: string[] = []
  enabled = true
  open = 0
  mostOpen = 0
  twin: unknown = {}
  patches: unknown[] = []
  /** Name of each effect. */
  readonly effects: string[] = []
  /** Fails or cuts an effect. */
  before: (effect: string) => void | Promise<void> = () => {}
  readonly blobs = new Map<string, Buffer>()
  #starts = { operationId: '', starts: 0 }
  #power = new AbortController()
  #orderly = new AbortController()
  collection: LogCollection | undefined

  async #effect(name: string): Promise<void> {
    if (this.#power.signal.aborted) await new Promise(() => {})
    this.effects.push(name)
    try {
      await this.before(name)
    } catch (error) {
      if (!(error instanceof PowerCut)) throw error
      this.#power.abort(error)
      // A process without power does nothing more.
      await new Promise(() => {})
    }
  }

  start(): LogCollection {
    this.#power = new AbortController()
    this.#orderly = new AbortController()
    this.open = 0
    const line = (event: string, fields?: object): void => void this.lines.push(JSON.stringify({ event, ...fields }))
    const log: Log = { debug: line, info: line, warn: line, error: line }
    const device: LogUpload = {
      begin: async operationId => {
        await this.#effect('begin')
        const { starts } = this.#starts.operationId === operationId ? this.#starts : { starts: 0 }
        this.#starts = { operationId, starts: starts + 1 }
        return starts + 1
      },
      takeBack: async operationId => {
        await this.#effect('takeBack')
        assert.equal(this.#starts.operationId, operationId)
        this.#starts.starts -= 1
      },
      open: async ({ blob }) => {
        await this.#effect('open')
        this.opened.push(blob)
        this.open += 1
        this.mostOpen = Math.max(this.mostOpen, this.open)
        const kept: Buffer[] = []
        return {
          put: async (query, body) => {
            await this.#effect(query.replace(/&.*/, ''))
            if (query.startsWith('comp=block&')) kept.push(Buffer.from(body))
            else this.blobs.set(blob, Buffer.concat(kept))
          },
          close: () => {
            this.open -= 1
          },
        }
      },
      bundle: async out => {
        await pipeline(Readable.from([this.bundle]), out)
      },
    }
    this.collection = new LogCollection(
      device,
      this.clock,
      log,
      { enabled: this.enabled, hosts },
      AbortSignal.any([this.#power.signal, this.#orderly.signal]),
    )
    return this.collection
  }

  /** Aborts when the process begins to stop as planned. */
  get stopping(): AbortSignal {
    return this.#orderly.signal
  }

  async stop(): Promise<void> {
    this.#orderly.abort()
    for (let turns = 0; turns < 30; turns++) await turn()
    await this.collection?.end()
    this.#power.abort()
  }

  connect(name = 'pi1'): void {
    const power = this.#power.signal
    const send = async (patch: Reported): Promise<void> => {
      if (power.aborted) await new Promise(() => {})
      await this.#effect('report')
      this.patches.push(patch)
      this.twin = mergePatch(this.twin, patch)
    }
    this.collection?.onConnected(this.twin, send, name)
  }

  get agent(): Record<string, unknown> | undefined {
    return (this.twin as { diagnosticInformation?: { agent?: Record<string, unknown> } }).diagnosticInformation?.agent
  }

  /** Until nothing happens any more. */
  async settle(): Promise<void> {
    for (let turns = 0; turns < 60; turns++) await turn()
    while (this.clock.timers > 0) {
      const count = this.clock.timers
      await this.clock.passUntil(() => this.clock.timers < count, 1e9)
      for (let turns = 0; turns < 30; turns++) await turn()
    }
  }
}

test('a request: acknowledged with its id, uploaded in blocks, answered', async () => {
  const world = new World()
  world.start()
  world.connect()
  const desired = asking('op-1')
  world.collection?.onDesired(desired)
  await world.settle()
  assert.deepEqual(world.twin, {
    diagnosticInformation: {
      __t: 'c',
      service: { value: { operationId: 'op-1' }, ac: 200, ad: '', av: desired.$version },
      agent: { operationId: 'op-1', resultCode: 200, extendedResultCode: 0 },
    },
  })
  assert.deepEqual([...world.blobs.keys()], ['pi1/op-1/pi-adu/support.tar.gz'])
  assert.deepEqual(world.blobs.get('pi1/op-1/pi-adu/support.tar.gz'), world.bundle)
  assert.equal(world.effects.filter(effect => effect === 'comp=block').length, Math.ceil(300_000 / 65_536))
  assert.equal(world.open, 0)
})

test('the blob has the name of the identity that is connected', async () => {
  const world = new World()
  world.start()
  world.connect('pi1/module')
  world.collection?.onDesired(asking('op-1'))
  await world.settle()
  world.collection?.onLost()
  world.connect('pi2')
  world.collection?.onDesired(asking('op-2'))
  await world.settle()
  assert.deepEqual(world.opened, ['pi1/module/op-1/pi-adu/support.tar.gz', 'pi2/op-2/pi-adu/support.tar.gz'])
})

test('an answered request is not answered again: not on the next connection, not after a restart', async () => {
  const world = new World()
  world.start()
  world.connect()
  const desired = asking('op-1')
  world.collection?.onDesired(desired)
  await world.settle()
  const { length } = world.patches
  world.collection?.onLost()
  world.connect()
  world.collection?.onDesired(desired)
  world.start()
  world.connect()
  world.collection?.onDesired({ ...desired, $version: 99 })
  await world.settle()
  assert.equal(world.patches.length, length)
  assert.equal(world.opened.length, 1)
})

const refused: readonly (readonly [what: string, service: unknown, resultCode: number, operationId: string])[] = [
  ['no operation id', { storageSasUrl: URL }, -6, ''],
  ['an operation id that is no text', { operationId: 7, storageSasUrl: URL }, -6, ''],
  ['an operation id that leads out', { operationId: '../x', storageSasUrl: URL }, -6, ''],
  ['dots', { operationId: '..', storageSasUrl: URL }, -6, ''],
  ['a long one', { operationId: 'x'.repeat(129), storageSasUrl: URL }, -6, ''],
  ['no URL', { operationId: 'a' }, -7, 'a'],
  ['a URL that is none', { operationId: 'a', storageSasUrl: `x?sig=${SECRET}` }, -4, 'a'],
  ['http', { operationId: 'a', storageSasUrl: URL.replace('https', 'http') }, -4, 'a'],
  ['no container', { operationId: 'a', storageSasUrl: URL.replace('/logs', '/') }, -4, 'a'],
  ['a blob', { operationId: 'a', storageSasUrl: URL.replace('/logs', '/logs/x') }, -4, 'a'],
  [
    'another host',
    { operationId: 'a', storageSasUrl: URL.replace('acct.blob.core.windows.net', 'evil.example') },
    -4,
    'a',
  ],
  [
    'this machine',
    { operationId: 'a', storageSasUrl: URL.replace('acct.blob.core.windows.net', '127.0.0.1') },
    -4,
    'a',
  ],
]

for (const [what, service, resultCode, operationId] of refused) {
  test(`refused: ${what}`, async () => {
    const world = new World()
    world.start()
    world.connect()
    world.collection?.onDesired({ $version: 1, diagnosticInformation: { service } })
    await world.settle()
    const extendedResultCode = EXTENDED_RESULT_CODE.LOGS_REQUEST
    assert.deepEqual(world.agent, { operationId, resultCode, extendedResultCode })
    assert.deepEqual(world.opened, [])
    assert.doesNotMatch(JSON.stringify([world.lines, world.patches]), new RegExp(SECRET))
  })
}

test('nothing is asked for by anything else', () => {
  for (const desired of [
    undefined,
    null,
    1,
    [],
    {},
    { diagnosticInformation: 1 },
    { diagnosticInformation: { service: null } },
  ])
    assert.equal(readLogRequest(desired, hosts), undefined)
})

test('off: answered, nothing is uploaded', async () => {
  const world = new World()
  world.enabled = false
  world.start()
  world.connect()
  world.collection?.onDesired(asking('a'))
  await world.settle()
  assert.deepEqual(world.agent, { operationId: 'a', resultCode: -5, extendedResultCode: EXTENDED_RESULT_CODE.LOGS_OFF })
  assert.deepEqual(world.opened, [])
})

test('a thousand requests: one upload at a time, and only the newest of those that came meanwhile', async () => {
  const world = new World()
  let goOn = (): void => {}
  const slow = new Promise<void>(resolve => {
    goOn = resolve
  })
  world.before = effect => (effect === 'comp=block' ? slow : undefined)
  world.start()
  world.connect()
  for (let count = 0; count < 1000; count++) {
    world.collection?.onDesired(asking(`op-${count}`))
    if (count % 10 === 0) await turn()
  }
  goOn()
  await world.settle()
  assert.equal(world.mostOpen, 1)
  assert.deepEqual(world.opened, ['pi1/op-0/pi-adu/support.tar.gz', 'pi1/op-999/pi-adu/support.tar.gz'])
  assert.equal(world.agent?.operationId, 'op-999')
  assert.equal(world.agent?.resultCode, 200)
})

test('a storage that fails for a while is tried again; one that refuses is not; nothing has the signature', async () => {
  for (const [error, times, resultCode] of [
    [new ContentError('acct answered 503', 'backOff', { code: 'LOGS_UPLOAD' }), 5, 200],
    [new ContentError('acct answered 503', 'backOff', { code: 'LOGS_UPLOAD' }), 99, -2],
    [new ContentError('acct answered 403', 'never', { code: 'LOGS_UPLOAD' }), 1, -2],
    [new AgentError('LOGS_BUNDLE', 'disk full'), 1, 0],
    [new TypeError('a bug'), 1, 0],
  ] as const) {
    const world = new World()
    let left: number = times
    world.before = effect => {
      if (effect === 'comp=block' && left-- > 0) throw error
    }
    world.start()
    world.connect()
    world.collection?.onDesired(asking('a'))
    await world.settle()
    assert.equal(world.agent?.resultCode, resultCode, error.message)
    assert.equal(world.open, 0)
    assert.doesNotMatch(JSON.stringify([world.lines, world.patches]), new RegExp(SECRET))
  }
})

test('a result that the hub did not take is reported on the next connection, without another upload', async () => {
  const world = new World()
  let isAway = false
  world.before = effect => {
    if (effect === 'comp=blocklist') isAway = true
    if (effect === 'report' && isAway) throw new HubError('no answer')
  }
  world.start()
  world.connect()
  const desired = asking('a')
  world.collection?.onDesired(desired)
  await world.settle()
  assert.equal(world.opened.length, 1)
  world.collection?.onLost()
  world.before = () => {}
  world.connect()
  world.collection?.onDesired(desired)
  await world.settle()
  assert.equal(world.agent?.resultCode, 200)
  assert.equal(world.opened.length, 1)
})

test('a power cut before each effect: the upload starts over once, and the answer comes', async () => {
  const calm = new World()
  calm.start()
  calm.connect()
  calm.collection?.onDesired(asking('a'))
  await calm.settle()
  const { effects } = calm
  assert.ok(effects.length >= 9, effects.join())
  for (let at = 0; at < effects.length; at++) {
    const world = new World()
    let count = 0
    world.before = () => {
      if (count++ === at) throw new PowerCut()
    }
    const desired = asking('a')
    for (let boot = 0; boot < 2; boot++) {
      world.start()
      world.connect()
      world.collection?.onDesired(desired)
      await world.settle()
    }
    const told = `cut before effect ${at} (${effects[at]})`
    assert.equal(world.agent?.resultCode, 200, told)
    assert.ok(world.opened.length <= 2, told)
    assert.deepEqual(world.blobs.get('pi1/a/pi-adu/support.tar.gz'), world.bundle, told)
  }
})

test('an upload that ends the agent each time is given up', async () => {
  const world = new World()
  world.before = effect => {
    if (effect === 'comp=block') throw new PowerCut()
  }
  const desired = asking('a')
  for (let boot = 0; boot < 4; boot++) {
    world.start()
    world.connect()
    world.collection?.onDesired(desired)
    await world.settle()
  }
  assert.equal(world.opened.length, 2)
  const extendedResultCode = EXTENDED_RESULT_CODE.LOGS_INTERRUPTED
  assert.deepEqual(world.agent, { operationId: 'a', resultCode: 0, extendedResultCode })
})

test('planned restarts do not count as interruptions, whether or not the upload has noticed them', async () => {
  for (const notices of [false, true]) {
    const world = new World()
    world.before = effect => {
      if (effect !== 'comp=block') return
      return new Promise((_, reject) => {
        if (notices) world.stopping.addEventListener('abort', () => reject(new Error('stopped')))
      })
    }
    const desired = asking('a')
    for (let boot = 0; boot < 4; boot++) {
      world.start()
      world.connect()
      world.collection?.onDesired(desired)
      await world.settle()
      await world.stop()
    }
    world.before = () => {}
    world.start()
    world.connect()
    world.collection?.onDesired(desired)
    await world.settle()
    assert.equal(world.agent?.resultCode, 200)
    assert.equal(world.effects.filter(effect => effect === 'takeBack').length, 4)
    // After an answer there is nothing to take back.
    await world.stop()
    assert.equal(world.effects.filter(effect => effect === 'takeBack').length, 4)
  }
})
