import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { get } from 'node:http'
import { join } from 'node:path'
import { test } from 'node:test'
import { execa } from 'execa'
import type { BenchFacts } from '../bench/background/facts.ts'
import type { ShownDevice } from '../bench/web/web.ts'
import { until } from '../control/support.ts'
import { ask } from '../page/support.ts'
import { newDir, root } from './support.ts'

/** `scripts/bench`, which is built. */
const cli = (args: readonly string[]) =>
  execa('node', [join(root, 'dist/test/bench/cli.js'), ...args], { reject: false, stdin: 'ignore', timeout: 240_000 })

test('the page of the bench: deploy, cut the power in the middle, switch on, and the update ends well', async t => {
  const dir = await newDir()
  const bench = (...args: string[]) => cli([...args, '--state', join(dir, 'state')])
  t.after(async () => {
    await bench('down')
    await rm(dir, { recursive: true, force: true })
  })
  const { stdout, stderr, exitCode } = await bench('up', '--web', '--json')
  assert.equal(exitCode, 0, stderr)
  const { web, pid } = JSON.parse(stdout) as BenchFacts
  const { hostname, port } = new URL(String(web))
  assert.equal(hostname, '127.0.0.1')
  assert.match((await bench('status')).stdout, new RegExp(`^page +http://127\\.0\\.0\\.1:${port}$`, 'm'))

  // As the script of the page follows it.
  const seen: ShownDevice[] = []
  const call = get({ host: hostname, port, path: '/events' }, response => {
    let rest = ''
    response.setEncoding('utf8').on('data', (chunk: string) => {
      const parts = (rest + chunk).split('\n\n')
      rest = parts.pop() ?? ''
      for (const part of parts) if (part.startsWith('data: ')) seen.push(...JSON.parse(part.slice(6)))
    })
  })
  call.on('error', () => {})
  t.after(() => call.destroy())
  const now = (): ShownDevice | undefined => seen.at(-1)
  const press = (path: string, how: string) =>
    ask(Number(port), path, { method: 'POST', form: new URLSearchParams({ device: 'pi1', how }).toString() })
  const shows = (text: string) => JSON.stringify(now()?.card.lines).includes(text)

  await until(() => now()?.trouble === '' && now()?.card.light?.mood === 'online', 'the device to be online')
  assert.deepEqual(now()?.can, ['deploy', 'cancel', 'cut'])
  assert.deepEqual((await press('/cancel', 'cancel')).body, 'nothing is deployed to pi1\n')

  const deployed = await press('/deploy', 'deploy')
  assert.match(deployed.body, /^deployed 2\.0\.0, workflow /)
  await until(() => seen.some(({ card }) => card.events.some(({ text }) => /2\.0\.0/.test(text))), 'the deployment')
  assert.deepEqual((await press('/power', 'cut')).body, 'it has no power\n')
  await until(() => now()?.trouble === 'no power', 'the power to be off')
  assert.deepEqual(now()?.can, ['deploy', 'cancel', 'on'])
  assert.equal((await press('/power', 'on')).status, 200)
  await until(
    () => now()?.card.slots.find(({ booted }) => booted)?.name === 'slot b' && shows('700, 00000000, reported'),
    'the update',
  )
  const events = now()?.card.events.map(({ text }) => text) ?? []
  assert.deepEqual(
    ['slot b is on trial', 'slot b is committed', 'result 700'].map(text => events.some(each => each.includes(text))),
    [true, true, true],
  )

  // Open already: the same page, and not at two addresses.
  const again = JSON.parse((await bench('up', '--web', '--json')).stdout) as BenchFacts
  assert.deepEqual([again.web, again.pid], [web, pid])
  const elsewhere = await bench('up', '--web', '--address', '127.0.0.2')
  assert.deepEqual([elsewhere.exitCode, /the page is at .* already/.test(elsewhere.stderr)], [1, true])
})

test('the page of the bench is asked for in a way that makes sense', async () => {
  const dir = await newDir()
  try {
    for (const [args, said] of [
      [['--address', '127.0.0.1'], /--address needs --web/],
      [['--web', '--address', 'localhost'], /--address must be an IP address/],
    ] as const) {
      const { exitCode, stderr } = await cli(['up', ...args, '--state', join(dir, 'state')])
      assert.equal(exitCode, 64, stderr)
      assert.match(stderr, said)
    }
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
})
