import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { get, request } from 'node:http'
import { connect, createServer } from 'node:net'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { repositoryRoot } from '../../image/builder/repository.ts'
import { readConfig } from '../../src/config/config.ts'
import { effective } from '../../src/config/effective.ts'
import { CARD } from '../../src/page/assets/card.ts'
import { HTML } from '../../src/page/assets/html.ts'
import { SCRIPT } from '../../src/page/assets/script.ts'
import { STYLE } from '../../src/page/assets/style.ts'
import { serveHttp } from '../../src/page/server.ts'
import type { PageState } from '../../src/page/state.ts'
import { least } from '../config/examples.ts'
import { aLog, until } from '../control/support.ts'
import { anUpdate, aPage, ask, freePort, order, PIN } from './support.ts'

test('the page, its script and its style are less than 30 KB, and name nothing outside', () => {
  const bytes = Buffer.byteLength(HTML) + Buffer.byteLength(SCRIPT) + Buffer.byteLength(STYLE)
  assert.ok(bytes < 30_000, `${bytes} bytes`)
  for (const asset of [HTML, STYLE, SCRIPT.replace('http://www.w3.org/2000/svg', '')])
    assert.doesNotMatch(asset, /https?:|\/\/\w|innerHTML|style=| on\w+=|<style/)
  assert.ok(SCRIPT.startsWith(CARD))
})

test('every answer forbids what a page of a stranger could do with it', async t => {
  const { port } = await aPage(t)
  for (const path of ['/', '/script.js', '/style.css', '/state', '/nothing', '/constructor']) {
    const { headers } = await ask(port, path)
    const policy = String(headers['content-security-policy'])
    assert.match(policy, /^default-src 'none';.* frame-ancestors 'none'/, path)
    assert.doesNotMatch(policy, /unsafe|\*|data:/, path)
    assert.equal(headers['x-frame-options'], 'DENY')
    assert.equal(headers['x-content-type-options'], 'nosniff')
    assert.equal(headers['access-control-allow-origin'], undefined)
  }
  assert.equal((await ask(port, '/')).status, 200)
  assert.equal((await ask(port, '/nothing')).status, 404)
  assert.equal((await ask(port, '/', { method: 'PUT' })).status, 405)
  assert.equal((await ask(port, '/consent')).status, 405)
  assert.equal((await ask(port, '/', { headers: { host: 'evil.example' } })).status, 421)
})

test('the state has what pi-adu status says, slots, lights and events', async t => {
  const piAdu = { leds: { lights: [{ led: 'ACT' }, { gpio: 27, role: 'fault' }] } }
  const { port, publisher, url } = await aPage(t, { piAdu })
  assert.equal(url, `http://127.0.0.1:${port}`)
  anUpdate(publisher)
  publisher.tell({ event: 'deployment.taken', workflowId: '<b>7f0c', origin: 'deviceUpdate', kind: 'deploy' })
  const state = JSON.parse((await ask(port, '/state')).body) as PageState
  assert.equal(state.host, hostname())
  assert.match(state.lines.find(([name]) => name === 'doing')?.[1] ?? '', /for consent to install/)
  assert.deepEqual(
    state.slots.map(({ name, booted }) => [name, booted]),
    [
      ['slot a', true],
      ['slot b', false],
    ],
  )
  assert.equal(state.light.mood, 'waiting for consent')
  assert.deepEqual(state.light.lamps, [
    { name: 'ACT', plays: true },
    { name: 'GPIO 27', plays: false },
  ])
  assert.deepEqual(state.light.rhythm, [200, 300, 200, 300, 200, 1800])
  assert.deepEqual(state.events.at(-1)?.text, 'deployment <b>7f0c of deviceUpdate is taken up')
  assert.equal(state.consent, true)
})

test('the state follows: at once when a browser comes, then with each change', async t => {
  const { port, publisher } = await aPage(t)
  const got: PageState[] = []
  const call = get({ port, host: '127.0.0.1', path: '/events' }, response => {
    let rest = ''
    response.setEncoding('utf8').on('data', (chunk: string) => {
      const parts = (rest + chunk).split('\n\n')
      rest = parts.pop() ?? ''
      for (const part of parts) if (part.startsWith('data: ')) got.push(JSON.parse(part.slice(6)))
    })
  })
  call.on('error', () => {})
  t.after(() => call.destroy())
  await until(() => got.length > 0, 'the first state')
  anUpdate(publisher)
  await until(() => got.at(-1)?.consent === true, 'the update')
  publisher.change(view => ({
    ...view,
    ...({ phase: 'installing', waitsFor: null } as const),
    progress: { bytes: 25, size: 100, resumed: 0, since: 0 },
  }))
  await until(() => got.at(-1)?.progress?.percent === 25, 'the progress')
  // A thousand changes are not a thousand messages.
  const before = got.length
  for (let bytes = 26; bytes < 1026; bytes += 1)
    publisher.change(view => ({ ...view, progress: { bytes, size: 2000, resumed: 0, since: 0 } }))
  await until(() => got.at(-1)?.progress?.percent === 51, 'the last of them')
  assert.ok(got.length - before < 10, `${got.length - before} messages`)
})

test('consent needs the PIN, is given once, and is the same as over the socket', async t => {
  const { port, publisher, dir, lines } = await aPage(t)
  assert.deepEqual(
    [(await order(port, '/consent', 'a-guess')).status, (await order(port, '/consent', PIN)).status],
    [403, 409],
  )
  anUpdate(publisher)
  assert.equal((await order(port, '/consent', PIN, { origin: 'http://evil.example' })).status, 403)
  const { status, body } = await order(port, '/consent', PIN)
  assert.deepEqual([status, body], [200, 'consented to the update till 2.0.0\n'])
  assert.ok(existsSync(join(dir, 'consent')), 'the file of the consent gate')
  assert.ok(lines.some(([, event, fields]) => event === 'asked' && JSON.stringify(fields).includes('consented')))
  assert.ok(lines.some(([, event]) => event === 'page.pin-refused'))
  assert.ok(!JSON.stringify(lines).includes(PIN), 'the PIN is in the log')
  assert.ok(!JSON.stringify(lines).includes('a-guess'), 'what was given is in the log')
})

test('without a PIN in the configuration nothing can be ordered', async t => {
  const { port, publisher } = await aPage(t, { pin: null })
  anUpdate(publisher)
  assert.equal((JSON.parse((await ask(port, '/state')).body) as PageState).pin, false)
  for (const pin of ['', 'undefined', PIN]) {
    for (const path of ['/consent', '/bundle']) {
      const { status, body } = await order(port, path, pin)
      assert.deepEqual([status, /read-only/.test(body)], [403, true])
    }
  }
})

test('the fifth wrong PIN locks the right one out too, says for how long, and later ones do not fill the log', async t => {
  const { port, lines } = await aPage(t)
  for (let i = 0; i < 4; i += 1) assert.equal((await order(port, '/consent', `guess ${i}`)).status, 403)
  const fifth = await order(port, '/bundle', 'guess')
  assert.deepEqual([fifth.status, fifth.headers['retry-after']], [429, '60'])
  const right = await order(port, '/consent', PIN)
  assert.equal(right.status, 429)
  assert.match(right.body, /^too many wrong PINs: try again in \d+ s\n$/)
  assert.equal(lines.filter(([, event]) => event === 'page.pin-refused').length, 5)
})

test('a form that is too long is refused before it is read to its end', async t => {
  const { port } = await aPage(t)
  assert.equal((await ask(port, '/consent', { method: 'POST', form: `pin=${'1'.repeat(2000)}` })).status, 413)
})

test('the support bundle comes whole, one at a time, and a failure is said', async t => {
  const dir = await mkdtemp(join(tmpdir(), 'page-'))
  t.after(() => rm(dir, { recursive: true, force: true }))
  const file = join(dir, 'du-config.json')
  const given = { ...least(), dataFolder: dir, piAdu: { page: { address: '127.0.0.1', pin: PIN } } }
  await writeFile(file, JSON.stringify(given), { mode: 0o600 })
  // The program that makes it is this process's own in the agent.
  const [node, script] = process.argv
  process.argv[1] = join(repositoryRoot(), 'dist/src/main.js')
  t.after(() => {
    process.argv = [String(node), String(script)]
  })
  const { port } = await aPage(t, { file })
  const archive = join(dir, 'bundle.tar.gz')
  const first = new Promise<{ status: number; name: string; bytes: Buffer }>((resolve, reject) => {
    const host = `127.0.0.1:${port}`
    const headers = { host, origin: `http://${host}` }
    const call = request({ port, host: '127.0.0.1', path: '/bundle', method: 'POST', headers }, response => {
      const pieces: Buffer[] = []
      response.on('data', piece => pieces.push(piece)).on('error', reject)
      const name = String(response.headers['content-disposition'])
      response.on('end', () => resolve({ status: response.statusCode ?? 0, name, bytes: Buffer.concat(pieces) }))
    })
    call.on('error', reject)
    call.end(`pin=${PIN}`)
  })
  await until(() => true, 'the first to begin')
  const second = await order(port, '/bundle', PIN)
  const { status, name, bytes } = await first
  assert.deepEqual([status, second.status], [200, 409])
  assert.match(name, /^attachment; filename="pi-adu-[\w.-]+\.tar\.gz"$/)
  await writeFile(archive, bytes)
  const listed = spawnSync(
    'tar',
    ['--extract', '--gzip', '--to-stdout', '--wildcards', '*/configuration.json', '--file', archive],
    {
      encoding: 'utf8',
    },
  )
  assert.equal(listed.status, 0, listed.stderr)
  assert.match(listed.stdout, /"piAdu\.page\.pin"/)
  assert.ok(!listed.stdout.includes(PIN), 'the PIN is in the bundle')
  process.argv[1] = '/nonexistent.js'
  const failed = await order(port, '/bundle', PIN)
  assert.deepEqual([failed.status, /cannot be made/.test(failed.body)], [500, true])
})

test('check-config --show masks the PIN', async t => {
  const dir = await mkdtemp(join(tmpdir(), 'page-'))
  t.after(() => rm(dir, { recursive: true, force: true }))
  const file = join(dir, 'du-config.json')
  const given = { ...least(), piAdu: { page: { address: '::', pin: PIN } } }
  await writeFile(file, JSON.stringify(given), { mode: 0o600 })
  const rows = effective(await readConfig(file, {}), given)
  assert.equal(rows.find(({ name }) => name === 'piAdu.page.pin')?.json, '"…"')
  assert.ok(!JSON.stringify(rows).includes(PIN))
})

test('a port in use is one line, and in the view; the agent goes on', async t => {
  const port = await freePort()
  const other = createServer().listen(port, '127.0.0.1')
  t.after(() => other.close())
  await until(() => other.listening, 'the other program')
  const { publisher, lines } = await aPage(t, { page: { port }, hears: false })
  await until(() => publisher.view.page !== null, 'the answer')
  assert.deepEqual(publisher.view.page, {
    url: `http://127.0.0.1:${port}`,
    why: `another program has the port ${port}: choose another one with piAdu.page.port`,
  })
  assert.equal(lines.filter(([, event]) => event === 'page.not-listening').length, 1)
})

test('the page comes when its port is free', async t => {
  const port = await freePort()
  const other = createServer().listen(port, '127.0.0.1')
  await until(() => other.listening, 'the other program')
  const { log, lines } = aLog()
  const said: (string | undefined)[] = []
  const end = serveHttp(
    { address: '127.0.0.1', port, again: 20, onChange: (_, why) => said.push(why) },
    (_, response) => void response.end('here'),
    log,
  )
  t.after(end)
  await until(() => said.length > 3, 'some attempts')
  other.close()
  await until(() => said.at(-1) === undefined, 'it to listen')
  assert.equal((await ask(port, '/')).body, 'here')
  assert.deepEqual(
    lines.map(([, event]) => event),
    ['page.not-listening', 'page.listening'],
  )
})

test('an address that the device does not have is one line', async t => {
  const { publisher, lines } = await aPage(t, { page: { address: '192.0.2.7' }, hears: false })
  await until(() => publisher.view.page !== null, 'the answer')
  assert.match(publisher.view.page?.why ?? '', /does not have the address 192\.0\.2\.7/)
  assert.deepEqual(
    lines.filter(([level]) => level === 'warn').map(([, event]) => event),
    ['page.not-listening'],
  )
})

test('the end of the agent ends the page and its followers', async t => {
  const { port, close } = await aPage(t)
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  socket.write(`GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`)
  await new Promise(resolve => socket.once('data', resolve))
  const ended = new Promise(resolve => socket.once('close', resolve))
  close()
  await ended
  await assert.rejects(ask(port, '/'), /ECONNREFUSED/)
})

test('the unit of the agent lets it listen, on ports that need no right', () => {
  const folder = join(repositoryRoot(), 'image/rootfs/etc/systemd/system')
  const files = ['pi-adu-agent.service', 'pi-adu-agent.service.d/image.conf'].map(each => join(folder, each))
  const unit = files
    .filter(each => existsSync(each))
    .map(each => readFileSync(each, 'utf8'))
    .join('\n')
  assert.match(unit, /^RestrictAddressFamilies=.*AF_INET AF_INET6/m)
  assert.doesNotMatch(unit, /^(SocketBindDeny|PrivateNetwork|RestrictNetworkInterfaces)=/m)
  // What is denied is no address of a person in front of the device.
  assert.deepEqual(unit.match(/^IPAddressDeny=.*$/gm), ['IPAddressDeny=multicast 169.254.169.254'])
})
