import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { repositoryRoot } from '../../image/builder/repository.ts'
import { connected, linesFor } from '../../src/control/connection.ts'
import { importWanted, written } from '../bench/authoring/wanted.ts'
import type { Pi } from './pi.ts'
import { startRig } from './rig.ts'
import { notes, scriptStep } from './step-script.ts'

const rig = await startRig()
const two = await rig.system('2.0.0')
const base = await mkdtemp(join(tmpdir(), 'stick-'))
after(() => rm(base, { recursive: true, force: true }))

/** What an operator writes: taken from the twin of a device that is never switched on. */
async function stick(name: string, update = two): Promise<string> {
  await rig.bench.addDevice('desk')
  rig.bench.deploy('desk', update)
  const twin = join(base, `${name}.json`)
  await writeFile(twin, JSON.stringify(rig.bench.hub.getTwin('desk')))
  const program = join(repositoryRoot(), 'dist/src/operator/main.js')
  const out = join(base, name)
  const order = ['offline', 'create', '--deployment', twin, '--out', out, '--ca', rig.bench.hub.caFile]
  await promisify(execFile)('node', [program, ...order])
  return out
}

const main = join(repositoryRoot(), 'dist/src/main.js')

async function install({ folder }: Pi, target: string): Promise<Readonly<Record<string, string>>> {
  const signal = AbortSignal.timeout(60_000)
  const socket = await connected(folder.controlSocket, signal)
  for await (const line of linesFor(socket, { do: 'install', target }, signal)) return JSON.parse(line)
  throw new Error('no answer')
}

function unplug(pi: Pi): void {
  rig.bench.hub.faults.inject({ kind: 'refuseConnections', deviceId: pi.id, times: 'always', how: 'reset' })
}

const piAduOf = ({ reported }: Pi) => (reported as { piAdu?: { local?: { id: string; resultCode: number } } }).piAdu

rig.test(
  'a folder is installed and committed without a network, and reported when there is one',
  { on: false },
  async pi => {
    const folder = await stick('good')
    unplug(pi)
    await pi.switchOn()
    await pi.events.view()
    const { stdout: done } = await promisify(execFile)('node', [main, 'install', folder, '--config', pi.folder.config])
    assert.match(done, /^the local update local-\S+ begins\n/)
    assert.match(done, /the machine reboots into the new system/)
    await pi.events.waitFor('committed')
    await pi.events.waitFor('result')
    assert.equal(await pi.version(), '2.0.0')
    assert.equal(piAduOf(pi)?.local, undefined)
    // The same folder once more has nothing to do.
    while ((await pi.events.view()).phase !== 'reporting') await sleep(100)
    assert.match((await install(pi, folder)).error ?? '', /running already \(32100614\)/)
    rig.bench.hub.faults.clear('refuseConnections')
    await pi.waitFor(() => piAduOf(pi)?.local?.resultCode === 700, 'the result of the folder')
    assert.ok(done.startsWith(`the local update ${piAduOf(pi)?.local?.id} `), done)
    assert.equal(pi.agent?.installedUpdateId, JSON.stringify(two.updateId))
    assert.equal(pi.agent?.lastInstallResult, undefined)
  },
)

rig.test(
  'a list from a folder: a script, an image, and a script in the new system, without a network',
  { on: false, steps: {} },
  async pi => {
    const image = { step: `image:${await rig.bench.buildBundle({ tree: { version: '2.1.0' } })}` }
    const steps = written(await scriptStep(pi, 'before'), image, await scriptStep(pi, 'after'))
    const folder = await stick('list', (await importWanted(rig.bench, steps, '2.1')).update)
    unplug(pi)
    await pi.switchOn()
    await pi.events.view()
    assert.equal((await install(pi, folder)).error, undefined)
    await pi.events.waitFor('result')
    assert.equal(await pi.version(), '2.1.0')
    assert.deepEqual(await notes(pi), [
      'before install 1.0.0',
      'before apply 1.0.0',
      'after install 2.1.0',
      'after apply 2.1.0',
    ])
    rig.bench.hub.faults.clear('refuseConnections')
    await pi.waitFor(() => piAduOf(pi)?.local?.resultCode === 700, 'the result of the list')
  },
)

rig.test('a folder that is not whole is refused with one line, and nothing is touched', {}, async pi => {
  await pi.ready()
  const folder = await stick('bad')
  const image = two.files[0]!.fileName
  await truncate(join(folder, image), 1000)
  assert.match((await install(pi, folder)).error ?? '', /1000 bytes, not the expected/)
  await rm(join(folder, image))
  assert.match((await install(pi, folder)).error ?? '', /it is not there \(32100611\)$/)
  await writeFile(join(folder, image), Buffer.alloc(two.files[0]!.sizeInBytes))
  const command = promisify(execFile)('node', [main, 'install', folder, '--config', pi.folder.config])
  const failed = await command.catch((error: { code: number; stdout: string }) => error)
  const done = failed.stdout
  assert.equal('code' in failed && failed.code, 1, done)
  await pi.waitFor(() => piAduOf(pi)?.local !== undefined, 'the result of the wrong image')
  assert.ok(done.includes(piAduOf(pi)?.local?.id ?? '?'))
  assert.equal(piAduOf(pi)?.local?.resultCode, 0)
  assert.equal(await pi.version(), '1.0.0')
})
