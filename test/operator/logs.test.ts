import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readdir, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { execa } from 'execa'
import { aClient, aHub, report, tempDir } from '../hub/support.ts'
import { OPERATOR, operatorOptions } from './support.ts'

/** Asks a device for its logs that never answers. */
async function anOffice(t: TestContext, host = 'acct.blob.core.windows.net') {
  const hub = await aHub(t)
  const dir = await tempDir(t)
  hub.createDevice('pi1')
  const container = join(dir, 'container.url')
  await writeFile(container, `https://${host}/logs?sv=2021&sig=TopSecret\n`)
  const flags = ['--device', 'pi1', '--out', join(dir, 'pi1.tar.gz'), '--container-file', container]
  const logs = (...more: string[]) =>
    execa('node', [OPERATOR, 'logs', ...flags, '--interval', '200', ...more], operatorOptions(hub))
  const request = () =>
    hub.getTwin('pi1').properties.desired.diagnosticInformation as { service?: { operationId?: string } } | undefined
  const asked = async (): Promise<void> => {
    while (!request()) await sleep(2)
  }
  return { hub, dir, logs, request, asked }
}

test('Ctrl-C, SIGTERM and a closed terminal take the request back, however early they come', async t => {
  const { logs, request, asked } = await anOffice(t)
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    const running = logs()
    await asked()
    running.kill(name)
    if (name === 'SIGHUP') running.kill(name)
    const { exitCode, stderr } = await running
    assert.deepEqual([exitCode, stderr], [5, 'pi-adu-operator: stopped; the request was taken back'], name)
    assert.equal(request(), undefined, name)
  }
})

test('a request whose answer got lost is taken back too', async t => {
  const { hub, logs, request } = await anOffice(t)
  hub.faults.inject({ kind: 'failRest', how: 'lose', times: 1 })
  const { exitCode, stderr } = await logs()
  assert.equal(exitCode, 3, String(stderr))
  assert.doesNotMatch(String(stderr), /may still be in the twin/)
  assert.equal(request(), undefined)
})

test('a later request of somebody else stays, and a hub that is away for a moment gets the take-back', async t => {
  const { hub, logs, request, asked } = await anOffice(t)
  for (const others of [true, false]) {
    const running = logs()
    await asked()
    if (others)
      hub.updateDesired('pi1', { diagnosticInformation: { service: { operationId: 'theirs', storageSasUrl: 'x' } } })
    hub.faults.inject({ kind: 'failRest', how: 503, times: 2 })
    running.kill('SIGTERM')
    assert.equal((await running).exitCode, 5)
    assert.equal(request()?.service?.operationId, others ? 'theirs' : undefined)
    if (others) hub.updateDesired('pi1', { diagnosticInformation: null })
  }
})

test('a file that cannot be written is said before the device is asked', async t => {
  const { hub, dir, logs } = await anOffice(t)
  const before = hub.getTwin('pi1').properties.desired.$version
  for (const [out, why] of [
    [join(dir, 'nowhere', 'pi1.tar.gz'), /--out .*nowhere\/pi1\.tar\.gz cannot be written: ENOENT/],
    [dir, /--out .* cannot be written: it is a folder/],
  ] as const) {
    const { exitCode, stderr } = await logs('--out', out)
    assert.equal(exitCode, 64)
    assert.match(String(stderr), why)
  }
  assert.equal(hub.getTwin('pi1').properties.desired.$version, before)
})

test('Ctrl-C ends a fetch from a silent storage, and the name of the blob is said', async t => {
  const sockets: Socket[] = []
  const storage = createServer(socket => void sockets.push(socket.on('error', () => {}))).listen(0, '127.0.0.1')
  await once(storage, 'listening')
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    storage.close()
  })
  const { hub, dir, logs, request, asked } = await anOffice(t, `127.0.0.1:${(storage.address() as AddressInfo).port}`)
  const client = aClient(t, hub, 'pi1')
  await client.setOptions({ ca: hub.ca })
  await client.open()
  const fetching = once(storage, 'connection')
  const running = logs()
  await asked()
  const operationId = request()?.service?.operationId ?? ''
  await report(await client.getTwin(), {
    diagnosticInformation: { __t: 'c', agent: { operationId, resultCode: 200, extendedResultCode: 0 } },
  })
  await fetching
  running.kill('SIGINT')
  const { exitCode, stderr } = await running
  assert.equal(exitCode, 5, String(stderr))
  assert.match(String(stderr), new RegExp(`stopped while .*container as pi1/${operationId}/pi-adu/support\\.tar\\.gz$`))
  assert.equal(request(), undefined)
  assert.deepEqual(
    (await readdir(dir)).filter(name => name.startsWith('pi1.')),
    [],
  )
})
