import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { AgentError } from '../../src/domain/errors.ts'
import type { Verb } from '../../src/ports/steps.ts'
import { MAX_RECORDS, OrderRecords } from '../../src/steps/order-records.ts'
import { ownerOf } from '../../src/steps/users.ts'
import { answerOf, aService, NEVER } from './support.ts'

const FINE = { resultCode: 600, extendedResultCode: 0, resultDetails: '' }

test('a signed script runs, with its files beside it and nothing of this process’s environment', async t => {
  process.env.PI_ADU_TEST_SECRET = 'secret'
  t.after(() => delete process.env.PI_ADU_TEST_SECRET)
  const service = await aService(t)
  const script = `#!/bin/sh\ncat data.txt; pwd; env | cut -d= -f1 | sort | tr '\\n' ' '; echo; ls -l /proc/$$/fd | grep -c -e deleted -e socket:\n`
  const order = await service.order({ files: { 'a.sh': script, 'data.txt': 'the data' } })
  const result = await service.run(order)
  assert.ok(typeof result === 'object', String(result))
  const [data, environment, descriptors] = result.resultDetails.split('\n')
  assert.match(data ?? '', /^the data\/.*\/work\/[0-9a-f]{32}\/0$/)
  assert.equal(environment?.trim(), 'HOME LC_ALL PATH PWD')
  assert.match(descriptors ?? '', /^2$/)
})

test('an order runs once: its id gives the recorded result, even from a service that was started anew', async t => {
  const service = await aService(t)
  const order = await service.order({ files: { 'a.sh': service.script('echo said; exit 7') } })
  const first = await service.run(order)
  assert.deepEqual(first, { resultCode: 0, extendedResultCode: 7, resultDetails: 'failed with exit code 7said\n' })
  assert.deepEqual(await service.run(order), first)
  await service.restart()
  assert.deepEqual(await service.run(order), first)
  assert.deepEqual(await service.effects(), ['install'])
  assert.match(String(await service.run({ ...order, verb: 'apply' })), /STEP_REFUSED: .*another order/)
})

test('the question whether a step is installed may be asked as often as wanted, and leaves no record', async t => {
  const service = await aService(t)
  const order = await service.order({ files: { 'a.sh': service.script() } }, { verb: 'isInstalled' })
  for (let count = 0; count < 3; count++) assert.deepEqual(await service.run(order), FINE)
  assert.equal((await service.effects()).length, 3)
  assert.deepEqual(await readdir(join(service.state, 'orders')).catch(() => []), [])
})

test('an order goes on without its client, and another connection attaches to it', async t => {
  const service = await aService(t)
  const order = await service.order({
    files: { 'a.sh': service.script('echo progress 40; sleep 1; echo progress 90') },
  })
  const leave = new AbortController()
  const seen: number[] = []
  const first = service.client.run(
    order,
    percent => {
      seen.push(percent)
      leave.abort(new Error('left'))
    },
    leave.signal,
  )
  await assert.rejects(first, /left/)
  const result = await service.run(order, percent => seen.push(percent))
  assert.ok(typeof result === 'object' && result.resultCode === 600)
  assert.deepEqual(seen, [40, 40, 90])
  assert.deepEqual(await service.effects(), ['install'])
})

test('an order is found again without its text: while it runs, and after its end; nothing begins', async t => {
  const service = await aService(t)
  const bare = { signed: { manifest: '', signature: '', detached: [] } }
  const slow = await service.order({ files: { 'a.sh': service.script('echo progress 10; sleep 1') } })
  let isRunning = () => {}
  const running = new Promise<void>(resolve => {
    isRunning = resolve
  })
  const first = service.run(slow, () => isRunning())
  await running
  const again = await service.run({ ...slow, ...bare })
  assert.ok(typeof again === 'object' && again.resultCode === 600, String(again))
  assert.deepEqual(await first, again)
  await service.restart()
  assert.deepEqual(await service.run({ ...slow, ...bare }), again)
  await changeRecord(service.state, slow.id, text => JSON.stringify({ what: JSON.parse(text).what }))
  assert.match(String(await service.run({ ...slow, ...bare })), /STEP_UNKNOWN: the order order-\d+ was begun/)
  assert.match(String(await service.run({ ...slow, ...bare, id: 'new' })), /STEP_REFUSED: .*was never begun/)
  assert.deepEqual(await service.effects(), ['install'])
})

/** What is on the disk of an order, changed. */
async function changeRecord(state: string, id: string, change: (text: string) => string): Promise<void> {
  const file = join(state, 'orders', `${id}.json`)
  await writeFile(file, change(await readFile(file, 'utf8')))
}

test('an order that was begun and whose end is not on the disk is unknown, and never runs again', async t => {
  const service = await aService(t)
  const order = await service.order({ files: { 'a.sh': service.script() } })
  assert.deepEqual(await service.run(order), FINE)
  await changeRecord(service.state, order.id, text => JSON.stringify({ what: JSON.parse(text).what }))
  await service.restart()
  assert.match(String(await service.run(order)), /STEP_UNKNOWN: the order order-\d+ was begun/)
  await changeRecord(service.state, order.id, () => '{"what":"torn')
  assert.match(String(await service.run(order)), /STEP_UNKNOWN/)
  assert.deepEqual(await service.effects(), ['install'])
})

test('the record that an order was begun is on the disk before its effect', async t => {
  const service = await aService(t)
  const order = await service.order({ files: {} as Record<string, string> })
  const script = `#!/bin/sh\ncat '${join(service.state, 'orders', `${order.id}.json`)}'\n`
  const settings = { scripts: { run: 'on', asRoot: ['microsoft/script:1'] } }
  const asRoot = await aService(t, { settings })
  const { id } = await asRoot.order({ files: {} as Record<string, string> })
  const told = await asRoot.run({
    ...(await asRoot.order({
      files: { 'a.sh': script.replaceAll(service.state, asRoot.state).replaceAll(order.id, id) },
    })),
    id,
  })
  assert.ok(typeof told === 'object')
  assert.match(told.resultDetails, /^\{"what":"[0-9a-f]{64}"\}$/)
})

test('a cancel ends the order that runs, and what it started; then it runs itself', async t => {
  const service = await aService(t)
  const script = `#!/bin/sh\necho "$1" >> '${join(service.dir, 'effects')}'\n[ "$1" = cancel ] || { sleep 300 & sleep 300; }\n`
  const install = await service.order({ files: { 'a.sh': script } })
  const running = service.run(install)
  while ((await service.effects()).length === 0) await sleep(20)
  const cancel = { ...install, id: `${install.id}-cancel`, verb: 'cancel' } as const
  assert.deepEqual(await service.run(cancel), FINE)
  const ended = await running
  assert.ok(typeof ended === 'object')
  assert.equal(ended.resultCode, -1)
  assert.deepEqual(await service.effects(), ['install', 'cancel'])
  assert.deepEqual(await service.run(install), ended)
})

test('an order that waits when its step is cancelled does not begin', async t => {
  const service = await aService(t)
  const slow = await service.order({ files: { 'a.sh': service.script('[ "$1" = cancel ] || sleep 60') } })
  const [running, waiting] = [service.run(slow), service.run({ ...slow, id: 'waiting', verb: 'apply' })]
  while ((await service.effects()).length === 0) await sleep(20)
  await sleep(200)
  assert.deepEqual(await service.run({ ...slow, id: 'cancel', verb: 'cancel' }), FINE)
  await running
  const cancelled = { resultCode: -1, extendedResultCode: 0, resultDetails: 'cancelled before it began' }
  assert.deepEqual(await waiting, cancelled)
  // Nor does it later.
  assert.deepEqual(await service.run({ ...slow, id: 'waiting', verb: 'apply' }), cancelled)
  assert.deepEqual(await service.effects(), ['install', 'cancel'])
})

test('an older version of an update runs only where the settings allow it', async t => {
  const service = await aService(t)
  const run = async (version: string, verb: 'install' | 'isInstalled' = 'install') =>
    service.run(await service.order({ files: { 'a.sh': service.script(`: ${version}`) }, version }, { verb }))
  assert.deepEqual(await run('1.9.0'), FINE)
  assert.deepEqual(await run('1.10.0'), FINE)
  for (const verb of ['install', 'isInstalled'] as const) {
    assert.match(
      String(await run('1.9.0', verb)),
      /STEP_REFUSED: a step of Contoso\/Steps 1\.10\.0 has run .*"allowDowngrade": true/,
    )
  }
  await service.restart()
  assert.match(String(await run('1.9.0')), /1\.10\.0 has run/)
  const [settings, text] = [service.settings, await readFile(service.settings, 'utf8')]
  await writeFile(settings, JSON.stringify({ ...JSON.parse(text), allowDowngrade: true }))
  assert.deepEqual(await run('1.9.0'), FINE)
})

test('a question about a newer version, its download or its cancel does not make the older one unwelcome', async t => {
  const service = await aService(t)
  const order = async (version: string, verb: Verb) =>
    service.run(await service.order({ files: { 'a.sh': service.script(`: ${version}`) }, version }, { verb }))
  for (const verb of ['isInstalled', 'download', 'cancel'] as const) assert.deepEqual(await order('2.0.0', verb), FINE)
  assert.deepEqual(await order('1.0.0', 'install'), FINE)
})

test('the files of another deployment and of a finished step go, so the disk does not fill', async t => {
  const service = await aService(t)
  const work = join(service.state, 'work')
  const first = await service.order({ files: { 'a.sh': service.script(), 'big.bin': 'x'.repeat(100_000) } })
  await service.run(first)
  const [one] = await readdir(work)
  const second = await service.order({ files: { 'a.sh': service.script(': 2') }, version: '2.0.0' })
  await service.run(second)
  const [two, ...more] = await readdir(work)
  assert.notEqual(one, two)
  assert.deepEqual(more, [])
  await service.run({ ...second, id: 'apply', verb: 'apply' })
  assert.deepEqual(await readdir(join(work, two ?? '')), [])
})

test('the files of a failed step go, and what it wrote for its cancel stays', async t => {
  const service = await aService(t)
  const script = service.script('[ "$1" = cancel ] && exec cat note; echo kept > note; exit 3')
  const order = await service.order({ files: { 'a.sh': script, 'big.bin': 'x'.repeat(100_000) } })
  const result = await service.run(order)
  assert.ok(typeof result === 'object' && result.resultCode === 0)
  const work = join(service.state, 'work')
  const [deployment = ''] = await readdir(work)
  assert.deepEqual((await readdir(join(work, deployment, '0'))).sort(), ['a.sh', 'note'])
  const cancelled = await service.run({ ...order, id: 'after', verb: 'cancel' })
  assert.deepEqual(cancelled, { ...FINE, resultDetails: 'kept\n' })
  assert.deepEqual(await readdir(join(work, deployment)), [])
})

test('of a file elsewhere the service tells neither content nor size', async t => {
  const service = await aService(t)
  const order = await service.order({ files: { 'a.sh': service.script() } })
  await writeFile(join(service.agent, 'a.sh'), 'x'.repeat(4321))
  const answer = String(await service.run(order))
  assert.match(answer, /a\.sh has not the \d+ bytes that are signed/)
  assert.doesNotMatch(answer, /4321/)
})

test('a user that is not there is refused; where that cannot be found out, the order may come again', async t => {
  const dir = await mkdtemp(join(tmpdir(), 'users-'))
  const { PATH } = process.env
  t.after(async () => {
    process.env.PATH = PATH
    await rm(dir, { recursive: true })
  })
  const asked = async (does: string) => {
    await writeFile(join(dir, 'getent'), `#!/bin/sh\n${does}\n`, { mode: 0o755 })
    return String(await answerOf(ownerOf('motor', NEVER) as never))
  }
  process.env.PATH = `${dir}:${PATH}`
  assert.match(await asked('exit 2'), /STEP_REFUSED: this device has no user "motor"/)
  assert.match(await asked('kill -9 $$'), /STEP_SERVICE: getent was killed by SIGKILL/)
  assert.match(await asked('exit 1'), /STEP_SERVICE: getent failed with exit code 1/)
})

test('records are bounded, and the newest stay', async t => {
  const service = await aService(t)
  const records = new OrderRecords(join(service.state, 'orders'))
  for (let count = 0; count < MAX_RECORDS + 20; count++) await records.begin(`o${count}`, 'what')
  assert.equal((await readdir(join(service.state, 'orders'))).length, MAX_RECORDS)
  assert.deepEqual(await records.read(`o${MAX_RECORDS + 19}`), { what: 'what' })
})

test('files that do not fit on the disk are refused before anything is copied', async t => {
  const service = await aService(t)
  const order = await service.order({
    files: { 'a.sh': service.script() },
    change: {},
  })
  const { manifest } = order.signed
  const { signed } = await import('./support.ts')
  const huge = JSON.parse(manifest)
  huge.files.f1 = { ...huge.files.f0, fileName: 'huge.bin', sizeInBytes: 2 ** 31 }
  huge.files.f2 = { ...huge.files.f1, fileName: 'huge2.bin' }
  const disk = await import('node:fs/promises').then(({ statfs }) => statfs(service.state))
  const many = Math.min(400, Math.ceil((disk.bavail * disk.bsize) / 2 ** 31) + 1)
  for (let count = 0; count < many; count++) huge.files[`h${count}`] = { ...huge.files.f1, fileName: `h${count}` }
  huge.instructions.steps[0].files = Object.keys(huge.files)
  const text = signed({ files: {}, change: { manifest: huge } })
  const answer = await service.run({ ...order, signed: text })
  assert.match(String(answer), /STEP_REFUSED: the step's files need \d+ MB/)
})

test('a worker’s refusal is recorded, its fault is an unknown outcome', async t => {
  const refusing = await aService(t, {
    workers: { script: { run: async () => Promise.reject(new AgentError('SPACE', 'no room')) } },
  })
  const order = await refusing.order({ files: { 'a.sh': '1' } })
  for (let count = 0; count < 2; count++)
    assert.match(String(await refusing.run(order)), /^32100001 STEP_REFUSED: no room/)
  const faulty = await aService(t, { workers: { script: { run: async () => Promise.reject(new Error('bug')) } } })
  assert.match(String(await faulty.run(await faulty.order({ files: { 'a.sh': '1' } }))), /STEP_UNKNOWN: .*bug/)
})

test('an agent that finds no service, or may not use it, says what to do', async t => {
  const service = await aService(t)
  const order = await service.order({ files: { 'a.sh': '1' } })
  const { StepService } = await import('../../src/adapters/steps/step-service.ts')
  const quick = { sleep: async () => {} }
  const at = (socket: string) => new StepService({ socket, keyStore: { read: async () => undefined }, clock: quick })
  const none = await answerOf(at(join(service.dir, 'none')).run(order, () => {}, NEVER))
  assert.match(String(none), /STEP_SERVICE: there is no step service at .*systemctl enable --now pi-adu-steps.socket/)
  const file = await answerOf(at(service.settings).run(order, () => {}, NEVER))
  assert.match(String(file), /STEP_SERVICE: the step service at .* cannot be reached/)
})

test('a folder of a step belongs to its user, and nobody else looks into it', async t => {
  const service = await aService(t)
  const order = await service.order({ files: { 'a.sh': '#!/bin/sh\nid -u; touch made\n' } })
  const result = await service.run(order)
  assert.ok(typeof result === 'object')
  const uid = Number(result.resultDetails)
  const [deployment = ''] = await readdir(join(service.state, 'work'))
  const folder = await stat(join(service.state, 'work', deployment, '0'))
  assert.deepEqual([folder.uid, folder.mode & 0o777], [uid, 0o700])
  assert.equal(process.getuid?.() === 0, uid !== process.getuid?.())
})
