import assert from 'node:assert/strict'
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { after } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { gunzipSync } from 'node:zlib'
import { execa } from 'execa'
import tar from 'tar-stream'
import { repositoryRoot } from '../../image/builder/repository.ts'
import { askForView } from '../../src/control/client.ts'
import type { JsonObject } from '../bench/hub/json.ts'
import { OPERATOR } from '../operator/support.ts'
import type { Pi } from './pi.ts'
import { startRig } from './rig.ts'

const rig = await startRig()
const { blobs } = rig.bench.hub

// A machine without a journal has one for these tests: 10 MB of lines that do not compress well.
const bin = await mkdtemp(join(tmpdir(), 'journal-'))
after(() => rm(bin, { recursive: true }))
await mkdir(bin, { recursive: true })
await writeFile(
  join(bin, 'journalctl'),
  `#!/bin/sh
case "$*" in
  *--unit=*) echo 'AccountKey=VerySecretKey'; head -c 5500000 /dev/urandom | base64 -w 100; echo the-end ;;
  *) head -c 2000000 /dev/urandom | base64 -w 100 ;;
esac
`,
)
await chmod(join(bin, 'journalctl'), 0o755)

// With the memory options of the agent's unit.
const main = join(repositoryRoot(), 'dist/src/main.js')
await writeFile(
  join(bin, 'agent.mjs'),
  `import v8 from 'node:v8'\nv8.setFlagsFromString('--no-opt')\nawait import('${main}')\n`,
)

const withLogs = {
  power: {
    environment: { PATH: `${bin}:${process.env.PATH}`, NODE_OPTIONS: '--max-semi-space-size=1 --v8-pool-size=1' },
    agent: join(bin, 'agent.mjs'),
  },
}

const ask = (pi: Pi, operationId: string, storageSasUrl = blobs.url()): string => {
  rig.bench.hub.updateDesired(pi.id, { diagnosticInformation: { __t: 'c', service: { operationId, storageSasUrl } } })
  return storageSasUrl
}

const answerOf = (pi: Pi): JsonObject | undefined =>
  (pi.reported as { diagnosticInformation?: { agent?: JsonObject } }).diagnosticInformation?.agent

const answered = (pi: Pi, id: string): Promise<boolean> =>
  pi.waitFor(() => answerOf(pi)?.operationId === id, 'the result of the log collection')

async function unpacked(blob: string): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>()
  const extract = Readable.from([gunzipSync(await blobs.read(blob))]).pipe(tar.extract())
  for await (const entry of extract) {
    const chunks: Buffer[] = []
    for await (const chunk of entry) chunks.push(chunk as Buffer)
    found.set(entry.header.name.replace(/^[^/]+\//, ''), Buffer.concat(chunks).toString())
  }
  return found
}

/** Resident set of the agent, in bytes. */
async function rssOf(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) * 1024
}

rig.test(
  'logs of 10 MB are collected: without secrets, in little memory, and the URL is shown nowhere',
  withLogs,
  async pi => {
    await pi.ready()
    const { agent } = await askForView(pi.folder.controlSocket)
    const pid = agent?.pid ?? assert.fail('an agent runs')
    // After its start an agent still collects garbage.
    let before = await rssOf(pid)
    for (let quiet = 0; quiet < 10; quiet++) {
      await sleep(300)
      before = Math.max(before, await rssOf(pid))
    }
    let most = 0
    let isOver = false
    const watching = (async () => {
      while (!isOver) {
        most = Math.max(most, await rssOf(pid))
        await sleep(20)
      }
    })()
    const url = ask(pi, 'op-1')
    try {
      await answered(pi, 'op-1')
    } finally {
      isOver = true
      await watching
    }
    const blob = `${pi.id}/op-1/pi-adu/support.tar.gz`
    assert.deepEqual(answerOf(pi), { operationId: 'op-1', resultCode: 200, extendedResultCode: 0 })
    const entries = await unpacked(blob)
    const all = [...entries.values()].join('')
    assert.ok(all.length > 10e6, `${all.length} bytes`)
    assert.ok(blobs.stats.largest <= 64 * 1024)
    const text = (name: string): string => entries.get(name) ?? assert.fail(`${name}: ${[...entries.keys()]}`)
    assert.match(text('log/agent.log'), /AccountKey=…/)
    assert.match(all, /the-end/)
    assert.ok(JSON.parse(text('doctor.json')).length > 3)
    const sas = new URL(url).searchParams.get('sig') ?? ''
    const key = /SharedAccessKey=([^;"]+)/.exec(await readFile(pi.folder.config, 'utf8'))?.[1] ?? assert.fail('a key')
    const log = await readFile(pi.folder.agentLog, 'utf8')
    for (const secret of [sas, encodeURIComponent(sas), key, 'VerySecretKey']) {
      for (const [where, what] of Object.entries({ all, log, reported: JSON.stringify(pi.reported) }))
        assert.ok(!what.includes(secret), `a secret is in ${where}`)
    }
    assert.ok(most - before <= 8 << 20, `${Math.round((most - before) / 1024)} KiB more than ${before / 1024} KiB`)
    console.log(`# ${Math.round((most - before) / 1024)} KiB more RSS for ${all.length} bytes of logs`)
  },
)

rig.test('a power cut in the middle of the upload: it starts over, once', withLogs, async pi => {
  await pi.ready()
  const { blocks } = blobs.stats
  ask(pi, 'op-2')
  while (blobs.stats.blocks < blocks + 5) await sleep(5)
  await pi.powerCut()
  assert.equal(answerOf(pi), undefined)
  await pi.switchOn()
  await answered(pi, 'op-2')
  assert.equal(answerOf(pi)?.resultCode, 200)
  assert.ok((await unpacked(`${pi.id}/op-2/pi-adu/support.tar.gz`)).has('doctor.json'))
})

rig.test('a storage with trouble for a while; then one that refuses', withLogs, async pi => {
  await pi.ready()
  rig.bench.hub.faults.inject({ kind: 'failRest', path: '/bench-blobs/', how: 503, times: 2 })
  rig.bench.hub.faults.inject({ kind: 'failRest', path: '/bench-blobs/', how: 'reset', times: 1 })
  ask(pi, 'op-3')
  await answered(pi, 'op-3')
  assert.equal(answerOf(pi)?.resultCode, 200)
  ask(pi, 'op-4', blobs.url('r'))
  await answered(pi, 'op-4')
  assert.deepEqual(answerOf(pi), { operationId: 'op-4', resultCode: -2, extendedResultCode: 0x32100622 })
})

const andASmallLimit = { ...withLogs, piAdu: { diagnostics: { maxMegabytes: 1 } } }
rig.test('what is above the limit is left out, and the file says so', andASmallLimit, async pi => {
  await pi.ready()
  ask(pi, 'op-5')
  await answered(pi, 'op-5')
  const entries = await unpacked(`${pi.id}/op-5/pi-adu/support.tar.gz`)
  assert.ok([...entries.values()].join('').length <= (1 << 20) + 20_000)
  assert.match(entries.get('left-out.txt') ?? '', /log\/agent-\d+\.log/)
})

rig.test(
  'the operator collects the logs of a device; the signature does not stay in the twin',
  andASmallLimit,
  async pi => {
    await pi.ready()
    const { hub } = rig.bench
    const file = join(bin, 'fetched.tar.gz')
    const flags = ['--device', pi.id, '--out', file, '--interval', '200', '--json']
    const env = { ...hub.childEnvironment(), IOTHUB_CONNECTION_STRING: hub.serviceConnectionString }
    const container = { PI_ADU_LOGS_CONTAINER: blobs.url(), NODE_EXTRA_CA_CERTS: hub.caFile }
    const run = (more: object) =>
      execa('node', [OPERATOR, 'logs', ...flags], { env: { ...env, ...more }, reject: false })
    const { exitCode, stdout, stderr } = await run(container)
    assert.deepEqual([exitCode, stderr], [0, ''])
    const { operationId, bytes } = JSON.parse(stdout.slice(stdout.lastIndexOf('\n{')))
    assert.equal((await readFile(file)).length, bytes)
    assert.deepEqual(await readFile(file), await blobs.read(`${pi.id}/${operationId}/pi-adu/support.tar.gz`))
    assert.equal(hub.getTwin(pi.id).properties.desired.diagnosticInformation, undefined)
    assert.doesNotMatch(stdout, /sig=/)

    const refused = await run({ ...container, PI_ADU_LOGS_CONTAINER: blobs.url('r') })
    assert.equal(refused.exitCode, 1)
    assert.match(refused.stderr, /did not upload its logs \(-2\): the storage account refused the logs/)
    const none = await run({ PI_ADU_LOGS_CONTAINER: 'https://x/y?z' })
    assert.deepEqual([none.exitCode, /must be the URL of a container/.test(none.stderr)], [64, true])
  },
)
