import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { link, mkdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import test from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { StepOrder } from '../../src/ports/steps.ts'
import { cook } from '../bench/authoring/recipe.ts'
import { flipped } from '../trust/flaws/flaw.ts'
import { aService, type Bench, KEYS, rawClient, sent, signed } from './support.ts'

// A client here has all rights of the agent: it may connect, and writes what it likes into the agent's folder. Nothing that was
// not signed may run, and the service has to go on.

/** Nothing has run so far, and the service still does what is signed. */
async function unharmed(service: Bench, why: string): Promise<void> {
  assert.deepEqual(await service.effects(), [], why)
  const order = await service.order({ files: { 'fine.sh': service.script() } }, { verb: 'isInstalled' })
  const result = await service.run(order)
  assert.ok(typeof result === 'object' && result.resultCode === 600, `${why}: ${JSON.stringify(result)}`)
  await writeFile(join(service.dir, 'effects'), '')
}

test('texts: unsigned, changed, signed by another, or with a withdrawn provider', async t => {
  const service = await aService(t, { settings: { providers: ['Contoso'] } })
  const files = { 'a.sh': service.script() }
  const order = await service.order({ files })
  const { manifest, signature } = order.signed
  const foreign = { ...KEYS, roots: [{ ...KEYS.stranger, kid: KEYS.roots[0].kid }, KEYS.roots[1]] } as const
  const theirs = cook(foreign, { manifest }).service as { readonly updateManifestSignature: string }
  const cases: Readonly<Record<string, Partial<StepOrder['signed']>>> = {
    'no signature': { signature: '' },
    'the signature of nothing': { signature: 'a.b.c' },
    'a changed signature': { signature: flipped(signature) },
    'a changed payload': { signature: flipped(signature, 1) },
    'another version': { manifest: manifest.replace('"1.0.0"', '"9.0.0"') },
    'another hash': { manifest: manifest.replace(/"sha256":"..../, '"sha256":"AAAA') },
    'other arguments': {
      manifest: manifest.replace('"handlerProperties":{', '"handlerProperties":{"arguments":"--evil",'),
    },
    'a root key of the same name': { signature: theirs.updateManifestSignature },
    'another provider': signed({ files, provider: 'Stranger' }),
    'no text': { manifest: '' },
    'a text that is a number': { manifest: '7' },
    'a text that is deep': { manifest: '['.repeat(100_000) },
  }
  for (const [name, change] of Object.entries(cases)) {
    const answer = await service.run({ ...order, id: `x${Math.random()}`, signed: { ...order.signed, ...change } })
    assert.match(String(answer), /STEP_REFUSED/, name)
  }
  await unharmed(service, 'texts')
})

test('a root key that a package has withdrawn stays so, without the package and with an older one', async t => {
  const service = await aService(t)
  const order = await service.order({ files: { 'a.sh': service.script() } })
  const packaged = (change: object) =>
    cook(KEYS, { packageContent: content => ({ ...content, ...change }) }).rootKeyPackage.toString()
  const withdrawn = packaged({ version: 9, disabledRootKeys: [KEYS.roots[0].kid] })
  const ask = async (rootKeyPackage?: string) => {
    const { orders } = service
    const end = await orders.take({ order, ...(rootKeyPackage === undefined ? {} : { rootKeyPackage }) }, () => {})
      .ended
    return JSON.stringify(end)
  }
  assert.match(await ask(withdrawn), /JWS_ROOT_KEY_DISABLED/)
  assert.match(await ask(), /JWS_ROOT_KEY_DISABLED/)
  assert.match(await ask(packaged({ version: 8 })), /JWS_ROOT_KEY_DISABLED/)
  assert.match(await ask('{}'), /PACKAGE_/)
  await service.restart()
  assert.match(await ask(), /JWS_ROOT_KEY_DISABLED/)
  assert.deepEqual(await service.effects(), [])
})

test('steps: an index out of range, an image, a component that nobody has named, a verb that does not exist', async t => {
  const service = await aService(t)
  const order = await service.order({ files: { 'a.sh': service.script() } })
  const component = { id: 'evil', name: 'evil', properties: { path: '/etc' } }
  for (const change of [{ path: [1] }, { path: [0, 0] }, { path: [99] }, { component }]) {
    const answer = await service.run({ ...order, ...change })
    assert.match(String(answer), /STEP_REFUSED: .*has no step/, JSON.stringify(change))
  }
  const image = { handler: 'microsoft/swupdate:2', properties: { scriptFileName: undefined, swuFileName: 'a.swu' } }
  const bundle = await service.order({ files: { 'a.swu': 'x' }, ...image })
  assert.match(String(await service.run(bundle)), /STEP_REFUSED: .*is an image/)
  for (const change of [
    { path: [-1] },
    { path: [0.5] },
    { path: [] },
    { path: '0' },
    { verb: 'run' },
    { folder: 'etc' },
  ]) {
    const [answer = ''] = await sent(service.socket, JSON.stringify({ order: { ...order, ...change } }))
    assert.match(answer, /the request is not valid/, JSON.stringify(change))
  }
  await unharmed(service, 'steps')
})

test('ids that are paths, and ids without end', async t => {
  const service = await aService(t)
  const order = await service.order({ files: { 'a.sh': service.script() } })
  for (const id of [
    '../x',
    '..',
    '.',
    '',
    '/etc/passwd',
    'a/b',
    'a\0b',
    'x'.repeat(129),
    '-rf',
    '.hidden',
    'a\n',
    '__proto__/..',
  ]) {
    const [answer = ''] = await sent(service.socket, JSON.stringify({ order: { ...order, id } }))
    assert.match(answer, /order\.id has characters/, id)
  }
  await unharmed(service, 'ids')
})

test('members that the order does not have: commands, arguments, environment, users', async t => {
  const service = await aService(t)
  const order = await service.order(
    { files: { 'a.sh': `#!/bin/sh\nenv; echo "$@" $#; id -un\n` } },
    { verb: 'isInstalled' },
  )
  const more = {
    ...{ command: ['/bin/sh', '-c', 'id'], arguments: ['--evil'], env: { LD_PRELOAD: '/evil.so', PATH: '/evil' } },
    ...{ user: 'root', runAs: 'root', settings: { scripts: { asRoot: ['microsoft/script:1'] } }, plan: {}, timeout: 1 },
  }
  const line = JSON.stringify({ order: { ...order, ...more }, ...more })
  const [answer = ''] = await sent(service.socket, line)
  assert.doesNotMatch(answer, /evil/)
  assert.match(answer, /isInstalled 1\\n/)
  if (process.getuid?.() === 0) assert.match(answer, /nobody\\n/)
})

test('files: another content, longer, shorter, a link, a hard link, a folder, a FIFO, a device', async t => {
  const service = await aService(t)
  const script = service.script()
  const order = await service.order({ files: { 'a.sh': script } })
  const path = join(service.agent, 'a.sh')
  const evil = service.script().replace('$1', 'evil')
  const other = join(service.dir, 'other')
  await writeFile(other, script.replace('#!/bin/sh', '#!/bin/ss'))
  const flaws: Readonly<Record<string, () => Promise<unknown>>> = {
    absent: async () => {},
    'other content': () => writeFile(path, evil),
    'other content of the same size': () => writeFile(path, script.replace('$1', '$0')),
    longer: () => writeFile(path, `${script}\n`),
    shorter: () => writeFile(path, script.slice(1)),
    'a symbolic link to the right file': async () => {
      await writeFile(`${other}.sh`, script)
      await symlink(`${other}.sh`, path)
    },
    'a hard link to another file': () => link(other, path),
    'a folder': () => mkdir(path),
    'a FIFO': async () => execFileSync('mkfifo', [path]),
    'a link to a device': () => symlink('/dev/zero', path),
    'a link to a file of the system': () => symlink('/etc/shadow', path),
  }
  for (const [name, make] of Object.entries(flaws)) {
    await rm(path, { recursive: true, force: true })
    await make()
    assert.match(String(await service.run(order)), /STEP_REFUSED/, name)
  }
  for (const folder of ['/dev', '/proc/self', '/', join(service.dir, 'none'), `${service.agent}/../../../../etc`]) {
    assert.match(String(await service.run({ ...order, folder })), /STEP_REFUSED/, folder)
  }
  await unharmed(service, 'files')
})

test('a device is not even opened', { skip: process.getuid?.() !== 0 && 'only root makes devices' }, async t => {
  const service = await aService(t)
  const order = await service.order({ files: { 'a.sh': service.script() } })
  const path = join(service.agent, 'a.sh')
  await rm(path)
  try {
    execFileSync('mknod', [path, 'c', '1', '5'])
  } catch {
    return t.skip('no devices may be made here')
  }
  assert.match(String(await service.run(order)), /is not a regular file/)
})

test('a file that is swapped while it is copied: only signed content ever runs', async t => {
  const service = await aService(t)
  const padding = `${'#'.repeat(99)}\n`.repeat(5000)
  const good = `#!/bin/sh\necho good >> '${join(service.dir, 'effects')}'\nexit 0\n${padding}`
  const evil = good.replace('echo good', 'echo evil')
  const order = await service.order({ files: { 'a.sh': good } })
  const path = join(service.agent, 'a.sh')
  let over = false
  const swapping = (async () => {
    for (let turn = 0; !over; turn += 1) {
      if (turn % 3 === 2) await writeFile(path, turn % 2 ? good : evil)
      else {
        await writeFile(`${path}.new`, turn % 2 ? good : evil)
        await rename(`${path}.new`, path)
      }
    }
  })()
  const answers = new Set<string>()
  for (let turn = 0; turn < 25; turn += 1) {
    // Each turn copies anew: the step's folder goes when the step is over.
    const answer = await service.run({ ...order, id: `race-${turn}`, verb: 'apply' })
    answers.add(typeof answer === 'object' ? 'ran' : 'refused')
  }
  over = true
  await swapping
  assert.ok(answers.has('refused'), 'no swap ever hit')
  assert.ok((await service.effects()).every(line => line === 'good'))
})

test('a copy that the step’s own program has changed is not used again', async t => {
  const service = await aService(t)
  const script = `#!/bin/sh\necho "$1" >> '${join(service.dir, 'effects')}'\nprintf '#!/bin/sh\\nexit 66\\n' > evil; chmod 755 evil; mv -f evil "$0"; true\n`
  const order = await service.order({ files: { 'a.sh': script } }, { verb: 'download' })
  for (const verb of ['download', 'install'] as const) {
    const result = await service.run({ ...order, id: verb, verb })
    assert.ok(typeof result === 'object' && result.resultCode === 600, JSON.stringify(result))
  }
  assert.deepEqual(await service.effects(), ['download', 'install'])
})

test('lines: garbage, empty, binary, huge, and without an end', async t => {
  const service = await aService(t)
  const lines = [
    '',
    'x',
    '{}',
    '[]',
    'null',
    '{"order":7}',
    '{"order":{"__proto__":{"id":"x"}}}',
    '\x00\xff',
    '"'.repeat(1000),
  ]
  for (const line of [...lines, '['.repeat(1_000_000)]) {
    const [answer = ''] = await sent(service.socket, line)
    assert.match(answer, /"code":"STEP_REFUSED"/, line.slice(0, 40))
  }
  const client = rawClient(service.socket)
  const piece = Buffer.alloc(1024 * 1024, 'x')
  while (!client.socket.destroyed && client.socket.write(piece)) await sleep(0)
  const pump = setInterval(() => client.socket.destroyed || client.socket.write(piece), 1)
  const [answer = ''] = await client.lines
  clearInterval(pump)
  assert.match(answer, /the request has more than \d+ bytes/)
  await unharmed(service, 'lines')
})

test('many clients with half of a huge request each: memory is bounded', async t => {
  const service = await aService(t)
  const half = Buffer.alloc(7 * 1024 * 1024, 'x')
  const clients = Array.from({ length: 8 }, () => rawClient(service.socket))
  for (const { socket } of clients) socket.write(half)
  const answers = await Promise.race([Promise.all(clients.map(({ lines }) => lines)), sleep(1500).then(() => [])])
  for (const { socket } of clients) socket.destroy()
  const all = answers.length > 0 ? answers.flat() : (await Promise.all(clients.map(({ lines }) => lines))).flat()
  assert.ok(
    all.some(line => /busy with other requests/.test(line)),
    JSON.stringify(all),
  )
  await sleep(50)
  await unharmed(service, 'halves')
})

test('1,000 connections at once, and slow ones that say nothing', async t => {
  const service = await aService(t)
  const sockets = Array.from({ length: 1000 }, () => connect(service.socket).on('error', () => {}))
  await sleep(300)
  for (const socket of sockets) socket.destroy()
  await sleep(50)
  await unharmed(service, 'connections')
})

test('10,000 requests: forged ones are refused, and repeated ones run once', async t => {
  const service = await aService(t)
  const order = await service.order({ files: { 'a.sh': service.script() } })
  const forged = { ...order, signed: { ...order.signed, signature: flipped(order.signed.signature) } }
  const before = process.memoryUsage.rss()
  const tally = new Map<string, number>()
  const count = (key: string): unknown => tally.set(key, (tally.get(key) ?? 0) + 1)
  for (let turn = 0; turn < 1250; turn += 1) {
    const ends = Array.from({ length: 8 }, (_, at) => {
      const request = at === 0 ? { order: { ...forged, id: `forged-${turn}` } } : { order }
      return service.orders.take(request, () => {}).ended
    })
    for (const end of await Promise.all(ends))
      count(!end ? 'none' : 'result' in end ? `result ${end.result.resultCode}` : end.refused.code)
  }
  assert.deepEqual([...tally].sort(), [
    ['JWS_SIGNATURE', 1250],
    ['result 600', 8750],
  ])
  assert.deepEqual(await service.effects(), ['install'])
  assert.ok(process.memoryUsage.rss() - before < 150_000_000)
})

test('1 GB of output is dropped, but for its end', async t => {
  const service = await aService(t)
  const script = `#!/bin/sh\nhead -c 200000000 /dev/zero | tr '\\0' 'x'\necho\necho the end\n`
  const order = await service.order({ files: { 'a.sh': script } })
  const before = process.memoryUsage.rss()
  const result = await service.run(order)
  assert.ok(typeof result === 'object' && result.resultCode === 600)
  assert.match(result.resultDetails, /xxx\nthe end\n$|^x+$/)
  assert.ok(process.memoryUsage.rss() - before < 100_000_000)
})

test('a client that does not read is closed, and its order goes on', async t => {
  const service = await aService(t)
  const order = await service.order({
    files: { 'a.sh': service.script('for i in $(seq 1 100); do echo progress $i; done') },
  })
  const client = rawClient(service.socket)
  client.socket.pause()
  client.socket.write(`${JSON.stringify({ order })}\n`)
  while ((await service.effects()).length === 0) await sleep(20)
  const result = await service.run(order)
  client.socket.destroy()
  assert.ok(typeof result === 'object' && result.resultCode === 600)
  assert.deepEqual(await readFile(join(service.dir, 'effects'), 'utf8'), 'install\n')
})
