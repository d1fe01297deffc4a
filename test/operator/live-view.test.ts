import assert from 'node:assert/strict'
import { test } from 'node:test'
import { execa } from 'execa'
import { ControlPlane } from '../bench/control-plane/control-plane.ts'
import { aHub, atEnd } from '../hub/support.ts'
import { OPERATOR, operatorOptions } from './support.ts'

test('on a terminal the picture is drawn in place, and the last one stays', async t => {
  const hub = await aHub(t)
  hub.createDevice('pi1')
  const device = new ControlPlane({
    connectionString: hub.deviceConnectionString('pi1'),
    hubCa: hub.ca,
    rootKeys: [],
  })
  device.start()
  atEnd(t, () => device.stop())
  await hub.waitFor(() => hub.isSubscribed('pi1', '$iothub/methods/POST/#'), { timeoutMs: 30_000 })

  for (const size of ['rows 40 cols 100', 'rows 0 cols 0']) {
    const command = `stty ${size}; node ${OPERATOR} trigger --device pi1 --uri https://x.example/2.0.0.swu --interval 100`
    // script(1) is what gives a program a terminal.
    const options = { ...operatorOptions(hub), stdin: 'ignore' } as const
    const { exitCode, stdout } = await execa('script', ['-qec', command, '/dev/null'], options)
    assert.equal(exitCode, 0, size)
    const text = String(stdout)
    assert.match(text, /✔ pi1 /, size)
    // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what moves the cursor
    assert.equal(/\x1b\[/.test(text), size !== 'rows 0 cols 0', size)
  }
})

test('Ctrl-C on a terminal ends the watching with 5 and a sentence', async t => {
  const hub = await aHub(t)
  hub.createDevice('pi1')
  const command = `stty rows 40 cols 100; exec node ${OPERATOR} watch --device pi1 --forever`
  const running = execa('script', ['-qec', command, '/dev/null'], { ...operatorOptions(hub), stdin: 'pipe' })
  let seen = ''
  await new Promise<void>(resolve =>
    running.stdout?.on('data', chunk => {
      seen += chunk
      if (seen.includes('has never been updated')) resolve()
    }),
  )
  running.stdin?.write('\x03')
  const { exitCode, stdout } = await running
  assert.equal(exitCode, 5)
  assert.match(String(stdout), /pi-adu-operator: stopped watching; the update goes on/)
})
