import assert from 'node:assert/strict'
import { connect } from 'node:net'
import test, { type TestContext } from 'node:test'
import { guestCard } from '../bench/web/guest.ts'
import { type Button, openWebPage, type ShownDevice } from '../bench/web/web.ts'
import { aLog, until } from '../control/support.ts'
import { ask } from './support.ts'

// The page of `scripts/bench up --web`, with real sockets; test/demo/web.test.ts has it with a real bench.

async function aBenchPage(t: TestContext) {
  const pressed: (readonly [Button, string])[] = []
  const card = guestCard('my-pi', { piAdu: { format: 1, phase: 'idle', slots: { booted: 'a', a: '1.0.0' } } })
  const devices = (): ShownDevice[] => [
    { id: 'pi1', card: { ...card, host: 'pi1' }, trouble: 'no power', can: ['deploy', 'on'] },
    { id: 'my-pi', card, trouble: '', can: ['cancel'] },
  ]
  const press = async (button: Button, id: string): Promise<string> => {
    if (button === 'cancel') throw new Error(`nothing is deployed to ${id}`)
    pressed.push([button, id])
    return 'done'
  }
  const { log } = aLog()
  const over = new AbortController()
  t.after(() => over.abort())
  const url = await openWebPage({ devices, watch: () => () => {}, press }, '127.0.0.1', 0, log, over.signal)
  const port = Number(new URL(url).port)
  const order = (path: string, form: Record<string, string>, headers: Record<string, string> = {}) =>
    ask(port, path, { method: 'POST', form: new URLSearchParams(form).toString(), headers })
  return { port, pressed, order }
}

test('the page of the bench shows each device, and loads nothing from elsewhere', async t => {
  const { port } = await aBenchPage(t)
  for (const path of ['/', '/script.js', '/style.css']) {
    const { status, headers, body } = await ask(port, path)
    assert.equal(status, 200)
    assert.match(String(headers['content-security-policy']), /^default-src 'none'/)
    assert.doesNotMatch(body.replace('http://www.w3.org/2000/svg', ''), /https?:|innerHTML/)
  }
  const states = JSON.parse((await ask(port, '/state')).body) as ShownDevice[]
  assert.deepEqual(
    states.map(({ id, trouble, can }) => [id, trouble, can]),
    [
      ['pi1', 'no power', ['deploy', 'on']],
      ['my-pi', '', ['cancel']],
    ],
  )
  assert.deepEqual(states[1]?.card.lines, [
    ['doing', 'idle'],
    ['slots', 'a 1.0.0 (runs)'],
  ])
})

test('a button orders, and says what came of it', async t => {
  const { order, pressed } = await aBenchPage(t)
  const answers = [
    await order('/deploy', { device: 'pi1', how: 'deploy' }),
    await order('/power', { device: 'pi1', how: 'on' }),
    await order('/cancel', { device: 'my-pi', how: 'cancel' }),
  ]
  assert.deepEqual(
    answers.map(({ status, body }) => [status, body]),
    [
      [200, 'done\n'],
      [200, 'done\n'],
      [409, 'nothing is deployed to my-pi\n'],
    ],
  )
  assert.deepEqual(pressed, [
    ['deploy', 'pi1'],
    ['on', 'pi1'],
  ])
})

test('nobody but the page presses a button, and none that is not there', async t => {
  const { order, port, pressed } = await aBenchPage(t)
  const on = { device: 'pi1', how: 'on' }
  const statuses = [
    await order('/power', on, { origin: 'http://evil.example' }),
    await order('/power', on, { host: 'evil.example', origin: 'http://evil.example' }),
    await ask(port, '/power?device=pi1&how=on'),
    await ask(port, '/power'),
    await order('/power', { device: 'pi1', how: 'cut' }),
    await order('/power', { device: 'nobody', how: 'on' }),
    await order('/power', { ...on, more: 'x'.repeat(2000) }),
  ].map(({ status }) => status)
  assert.deepEqual([statuses, pressed], [[403, 421, 404, 405, 409, 409, 413], []])
})

test('an address that this machine does not have is one sentence', async () => {
  const { log } = aLog()
  const bench = { devices: () => [], watch: () => () => {}, press: async () => '' }
  await assert.rejects(
    openWebPage(bench, '192.0.2.7', 0, log),
    /^Error: the page cannot be at http:\/\/192\.0\.2\.7:0: this device does not have the address 192\.0\.2\.7$/,
  )
})

test('after too many connections the page is where it was', async t => {
  const { log, lines } = aLog()
  const bench = { devices: () => [], watch: () => () => {}, press: async () => '' }
  const over = new AbortController()
  t.after(() => over.abort())
  const flood = 20
  const limits = { flood, floodWithin: 600_000, pause: 300 }
  const port = Number(new URL(await openWebPage(bench, '127.0.0.1', 0, log, over.signal, limits)).port)
  const said = (name: string): number => lines.filter(([, event]) => event === name).length
  for (let i = 0; i < flood; i += 1) {
    const one = connect(port, '127.0.0.1').on('error', () => {})
    await until(() => !one.pending || one.closed, 'it to be connected or refused')
    one.destroy()
  }
  await until(() => said('page.flooded') === 1 && said('page.listening') === 2, 'it to listen again')
  assert.equal((await ask(port, '/state')).body, '[]\n')
})
