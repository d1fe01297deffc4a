import assert from 'node:assert/strict'
import test from 'node:test'
import { AgentError, ContentError } from '../../src/domain/errors.ts'
import { ercText } from '../../src/domain/result-codes.ts'
import { RootKeys } from '../../src/sources/root-keys.ts'
import { type Anchors, readRootKeyPackage } from '../../src/trust/root-key-package.ts'
import { publicNumbers } from '../bench/authoring/keys.ts'
import { type PackageDescription, rootKeyPackage, withdrawn } from '../bench/authoring/root-key-package.ts'
import { newKeys } from './flaws/flaw.ts'

const keys = newKeys()
const asRootKey = ({ kid, privateKey }: (typeof keys)['signing']) => ({ kid, ...publicNumbers(privateKey) })
const builtIn = keys.roots.map(asRootKey)
const URL = 'http://contoso.example/rootkeypackage-1.json'
const NEVER = new AbortController().signal
const signedPackage = (description: PackageDescription = {}) =>
  rootKeyPackage(keys.roots, { isTest: false, ...description })

type Answer = string | Error | { readonly endless: true }

/** A device's ports around one `RootKeys`: what the network answers, and what is kept. */
function device(...answers: Answer[]) {
  const state = { stored: undefined as Buffer | undefined, requests: 0, broken: false, pauses: [] as number[] }
  const part = (body: AsyncIterable<Buffer>) => ({ first: 0, last: undefined, total: undefined, etag: undefined, body })
  async function* endless() {
    for (;;) yield Buffer.alloc(65_536)
  }
  async function* once(text: string) {
    yield Buffer.from(text)
  }
  const ports = {
    content: {
      get: async () => {
        const answer = answers[Math.min(state.requests, answers.length - 1)] as Answer
        state.requests += 1
        if (answer instanceof Error) throw answer
        return part(typeof answer === 'string' ? once(answer) : endless())
      },
    },
    keyStore: {
      read: async () => {
        if (state.broken) throw new AgentError('PACKAGE_STORE', 'disk error')
        return state.stored
      },
      write: async (bytes: Buffer) => {
        if (state.broken) throw new AgentError('PACKAGE_STORE', 'disk full')
        state.stored = bytes
      },
    },
    clock: {
      monotonic: () => 0,
      now: () => new Date(0),
      random: () => 0.5,
      sleep: (ms: number, signal: AbortSignal) => {
        if (ms < 120_000) return Promise.resolve(void state.pauses.push(ms))
        return new Promise<void>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
      },
    },
    log: { debug() {}, info() {}, warn() {}, error() {} },
  }
  return { state, ports, start: (anchors: Anchors = { builtIn, configured: [] }) => new RootKeys(ports, anchors) }
}

async function outcome(keysOf: RootKeys, url: string | null = URL) {
  const found = await keysOf.forDeployment(url ?? undefined, NEVER)
  if ('failure' in found) return { failure: ercText(found.failure.extendedResultCode) }
  const { ring, extraCodes } = found
  return {
    extra: extraCodes.map(ercText).join(),
    rootKeys: ring.rootKeys.length,
    disabled: [...ring.disabledRootKeys, ...ring.disabledSigningKeys.map(({ alg }) => alg)].join(),
  }
}

const BARE = { extra: '', rootKeys: 2, disabled: '' }

test('no package named, none stored: built-in keys, nothing withdrawn', async () => {
  const { start, state } = device('')
  assert.deepEqual(await outcome(start(), null), { ...BARE })
  assert.equal(state.requests, 0)
})

test('a first package is taken and kept, and found unchanged after a restart', async () => {
  const text = signedPackage({
    disabledRootKeys: ['TEST.2.R'],
    disabledSigningKeys: [withdrawn(keys.stranger.privateKey)],
  })
  const { start, state } = device(text)
  const wanted = { rootKeys: 4, disabled: 'TEST.2.R,SHA256' }
  assert.deepEqual(await outcome(start()), { ...wanted, extra: 'A0000008' })
  assert.equal(state.stored?.toString(), text)
  assert.deepEqual(await outcome(start()), { ...wanted, extra: 'A0000FFF' })
  assert.deepEqual(await outcome(start(), null), { ...wanted, extra: '' }, 'also for a deployment that names none')
})

test('two deployments that ask at once: a late read of the store puts no older package over a newer one', async () => {
  const older = signedPackage({ version: 1 })
  const { start, state, ports } = device(signedPackage({ version: 2, disabledRootKeys: ['TEST.2.R'] }))
  state.stored = Buffer.from(older)
  const { read } = ports.keyStore
  const late: (() => void)[] = []
  ports.keyStore.read = async () => {
    const bytes = await read()
    if (late.length > 0) await new Promise<void>(resolve => late.push(resolve))
    else late.push(() => {})
    return bytes
  }
  const running = start()
  const [first, second] = [outcome(running), outcome(running, null)]
  await first
  for (const goOn of late) goOn()
  await second
  assert.equal((await outcome(running, null)).disabled, 'TEST.2.R')
})

test('a new package brings a new root key', async () => {
  const { start } = device(signedPackage(), signedPackage({ version: 2, more: [keys.stranger] }))
  const keysOf = start()
  await outcome(keysOf)
  assert.deepEqual(await outcome(keysOf), { extra: 'A0000008', rootKeys: 5, disabled: '' })
})

for (const [name, second] of [
  ['a lower version', { version: 2, published: 200, disabledRootKeys: [] }],
  ['the same version, published before', { version: 3, published: 99, disabledRootKeys: [] }],
  ['the same version and time, other content', { version: 3, published: 100, disabledRootKeys: [] }],
] as const) {
  test(`a replay of an older package is refused, what is stored stays: ${name}`, async () => {
    const newer = signedPackage({ version: 3, published: 100, disabledRootKeys: ['TEST.2.R'] })
    const { start, state } = device(newer, signedPackage(second), newer)
    const keysOf = start()
    await outcome(keysOf)
    assert.deepEqual(await outcome(keysOf), { failure: '32100009' })
    assert.equal(state.stored?.toString(), newer)
    assert.deepEqual(await outcome(start()), { extra: 'A0000FFF', rootKeys: 4, disabled: 'TEST.2.R' })
  })
}

test('unreachable with a stored one: five attempts, then the stored one counts, and the twin is told', async () => {
  const { start, state } = device(signedPackage(), new ContentError('the server answered 503', 'backOff'))
  const keysOf = start()
  await outcome(keysOf)
  assert.deepEqual(await outcome(keysOf), { extra: 'A0100005', rootKeys: 4, disabled: '' })
  assert.equal(state.requests, 6)
  assert.equal(state.pauses.length, 4)
  assert.ok(
    state.pauses.every(ms => ms >= 2000 && ms <= 60_000),
    `${state.pauses}`,
  )
})

test('unreachable with none stored: refused, nobody could say what was withdrawn', async () => {
  const { start, state } = device(new ContentError('connection refused', 'backOff'))
  assert.deepEqual(await outcome(start()), { failure: 'A0100005' })
  assert.equal(state.requests, 5)
})

test('a refusal of the server is not asked for again', async () => {
  const { start, state } = device(new ContentError('the server answered 404', 'never'))
  assert.deepEqual(await outcome(start()), { failure: 'A0100005' })
  assert.equal(state.requests, 1)
})

test('an attempt that fails is made good by the next', async () => {
  const { start } = device(new ContentError('connection reset', 'backOff'), signedPackage())
  assert.deepEqual(await outcome(start()), { extra: 'A0000008', rootKeys: 4, disabled: '' })
})

for (const [name, answer, code] of [
  ['an endless one', { endless: true }, 'A0000001'],
  ['an error page', '<html></html>', 'A0000001'],
  ['one of a stranger', rootKeyPackage([keys.stranger], { isTest: false }), '80600003'],
  ['a test package', signedPackage({ isTest: true }), 'A0000007'],
] as const) {
  test(`${name} refuses the deployment, stored package or not`, async () => {
    assert.deepEqual(await outcome(device(answer).start()), { failure: code })
    const { start, state } = device(signedPackage(), answer)
    const keysOf = start()
    await outcome(keysOf)
    const { stored } = state
    assert.deepEqual(await outcome(keysOf), { failure: code })
    assert.equal(state.stored, stored)
  })
}

test('a stored package that cannot be used: no deployment without another', async () => {
  const { start, state } = device(signedPackage())
  state.stored = Buffer.from('rot')
  const keysOf = start()
  assert.deepEqual(await outcome(keysOf, null), { failure: 'A0200007' })
  assert.deepEqual(await outcome(keysOf), { extra: 'A0000008', rootKeys: 4, disabled: '' })
  assert.deepEqual(await outcome(keysOf, null), { extra: '', rootKeys: 4, disabled: '' })
})

test('a store that cannot be written: the package counts for now, and the twin is told', async () => {
  const { start, state } = device(signedPackage({ disabledRootKeys: ['TEST.2.R'] }))
  const keysOf = start()
  await outcome(keysOf, null)
  state.broken = true
  assert.deepEqual(await outcome(keysOf), { extra: '80600005', rootKeys: 4, disabled: 'TEST.2.R' })
  assert.deepEqual(await outcome(keysOf, null), { extra: '', rootKeys: 4, disabled: 'TEST.2.R' })
  state.broken = false
  assert.deepEqual(await outcome(keysOf), { extra: 'A0000008', rootKeys: 4, disabled: 'TEST.2.R' })
  assert.ok(state.stored, 'the next deployment has it stored')
})

test('a store that cannot be read: no verdict at all', async () => {
  const { start, state } = device(signedPackage())
  state.broken = true
  await assert.rejects(start().forDeployment(URL, NEVER), { code: 'PACKAGE_STORE' })
})

const bench = { builtIn, configured: [asRootKey(keys.stranger)] }

test('a configuration with keys of its own: packages of either side count, one of both halves does not', async () => {
  const own = rootKeyPackage([keys.stranger], { isTest: true })
  assert.deepEqual(await outcome(device(own).start(bench)), { extra: 'A0000008', rootKeys: 4, disabled: '' })
  assert.deepEqual(await outcome(device(signedPackage()).start(bench)), {
    extra: 'A0000008',
    rootKeys: 5,
    disabled: '',
  })
  const half = rootKeyPackage([keys.roots[0]], { isTest: false })
  assert.deepEqual(await outcome(device(half).start(bench)), { failure: '80600003' })
})

test('a bench package that stayed on a device which left the bench counts no more', async () => {
  const { start } = device(rootKeyPackage([keys.stranger], { version: 9 }), signedPackage())
  await outcome(start(bench))
  assert.deepEqual(await outcome(start()), { extra: 'A0000008', rootKeys: 4, disabled: '' })
})

test('abort ends the fetch with the reason of the abort', async () => {
  const { ports } = device('')
  const abort = new AbortController()
  const content = {
    get: () => new Promise<never>((_, reject) => setImmediate(() => reject(new ContentError('x', 'backOff')))),
  }
  const waiting = new RootKeys({ ...ports, content }, { builtIn, configured: [] }).forDeployment(URL, abort.signal)
  abort.abort(new Error('a newer deployment'))
  await assert.rejects(waiting, /a newer deployment/)
})

test('nothing of a package that nobody signed comes into a message', () => {
  const key = (fields: object) => ({
    isTest: false,
    version: 1,
    published: 1,
    disabledRootKeys: [],
    disabledSigningKeys: [],
    rootKeys: { canary: { canary: 'canary', ...fields } },
  })
  for (const text of [
    'SSH-2.0-canary',
    '{"canary":1,"canary":2}',
    '{"canary":"canary"}',
    ...[
      {},
      { keyType: 'canary' },
      { keyType: 'RSA', n: 'canary!' },
      { keyType: 'RSA', n: 'AAAA', e: 'canary' },
      { keyType: 'RSA', n: 'AAAA', e: 3 },
    ].map(fields => JSON.stringify({ protected: key(fields), signatures: [{ alg: 'RS256', sig: 'AAAA' }] })),
  ]) {
    assert.throws(
      () => readRootKeyPackage(Buffer.from(text), { builtIn, configured: [] }),
      (error: Error) => error instanceof AgentError && !error.message.includes('canary'),
      text,
    )
  }
})
