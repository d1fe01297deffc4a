import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, before } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { StallWatch } from '../../src/adapters/swupdate/stall.ts'
import { Swupdate } from '../../src/adapters/swupdate/swupdate.ts'
import { phaseOf } from '../../src/delivery/install.ts'
import { AgentError } from '../../src/domain/errors.ts'
import { ercText } from '../../src/domain/result-codes.ts'
import { createBundle } from '../../src/operator/bundle/create.ts'
import type { Bundle } from '../../src/ports/installer.ts'
import { openBundleSigner } from '../bench/workbench/bundle-key.ts'
import { stopGroup } from './stop-group.ts'

const IMAGE_BYTES = 1_500_000
const log = { debug() {}, info() {}, warn() {}, error() {} }
const never = new AbortController().signal
const dir = await mkdtemp(join(tmpdir(), 'stall-'))
after(() => rm(dir, { recursive: true }))
const path = `${process.env.PATH}:/usr/sbin:/sbin`
process.env.PATH = path
const slot = join(dir, 'b.img')
const signer = await openBundleSigner(join(dir, 'keys'))
await writeFile(join(dir, 'system'), randomBytes(IMAGE_BYTES))
const source = { version: '2.0.0', hardware: ['1.0'], slots: { b: { image: join(dir, 'system'), device: 'pi-adu/b' } } }
await createBundle(join(dir, 'good.swu'), source, signer)
const good = await readFile(join(dir, 'good.swu'))
const firstPart = good.subarray(0, 500_000)
const secondPart = good.subarray(500_000)

/**
 * A SWUpdate that speaks on its control socket and reads of the bundle what HOW says. It starts a child, as the real one does.
 * `nothing`: not a byte. `slowly`: all of it, with pauses. `talks`: all of it, then it ends much later, and speaks meanwhile.
 */
const FAKE = `#!${process.execPath}
const { spawn } = require('node:child_process')
const { writeFileSync } = require('node:fs')
const how = process.env.HOW
writeFileSync(process.env.PIDS, [process.pid, spawn('sleep', ['600']).pid].join(' '))
const SIZE = 3120
let state = 0, last = 0, said = '', bytes = 0
require('node:net').createServer({ allowHalfOpen: true }, connection => {
  connection.on('error', () => {})
  connection.once('data', request => {
    const answer = Buffer.alloc(SIZE)
    answer.writeInt32LE(0x14052001, 0)
    answer.writeInt32LE(1, 4)
    if (request.readInt32LE(4) === 0) {
      state = 2
      connection.write(answer)
      if (how === 'nothing') return connection.pause()
      connection.on('data', piece => {
        bytes += piece.length
        if (how !== 'slowly') return
        connection.pause()
        setTimeout(() => connection.resume(), 150)
      })
      connection.on('end', async () => {
        for (let i = 0; how === 'talks' && i < 12; i++) {
          await new Promise(resolve => setTimeout(resolve, 300))
          said = 'writing'
        }
        state = 0
        last = 3
      })
      return
    }
    answer.writeInt32LE(said ? 2 : state, 8)
    answer.writeInt32LE(last, 12)
    answer.write(said, 20)
    said = ''
    connection.end(answer)
  })
}).listen('sockinstctrl')
`

before(async () => {
  await mkdir(join(dir, 'bin'))
  await writeFile(join(dir, 'bin/swupdate'), FAKE, { mode: 0o755 })
})

async function install(pieces: AsyncIterable<Buffer>, stall: number): Promise<void> {
  await writeFile(slot, '')
  await truncate(slot, IMAGE_BYTES)
  const swupdate = new Swupdate(
    {
      certificate: signer.certificate,
      hardware: 'pi-adu:1.0',
      selection: { a: 'stable,a', b: 'stable,b' },
      device: { a: join(dir, 'a.img'), b: slot },
      compare: true,
      keyFile: undefined,
      writable: [],
      confine: argv => argv,
      allow: [],
      stall,
    },
    log,
  )
  await swupdate.install(pieces as unknown as Bundle, 'b', never)
}

async function withFake(how: string, work: () => Promise<void>): Promise<number[]> {
  Object.assign(process.env, { PATH: `${join(dir, 'bin')}:${path}`, HOW: how, PIDS: join(dir, 'pids') })
  try {
    await work()
  } finally {
    process.env.PATH = path
  }
  return (await readFile(join(dir, 'pids'), 'utf8')).split(' ').map(Number)
}

/** Running, not only waiting for its parent. */
async function runs(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '')
  return stat !== '' && !/\) [ZX] /.test(stat)
}

function isStall(error: unknown): true {
  assert.ok(error instanceof AgentError)
  assert.equal(ercText(error.extendedResultCode), '321000A0')
  assert.match(
    error.message,
    /^swupdate took nothing, .* \(piAdu\.swupdate\.stallSeconds\) while system was being written/,
  )
  assert.match(error.message, /slot b, so it was ended: check the storage \S+b\.img$/)
  assert.equal(phaseOf(error), 'apply')
  return true
}

async function* whole(): AsyncGenerator<Buffer> {
  for (let at = 0; at < good.length; at += 50_000) yield Buffer.from(good.subarray(at, at + 50_000))
}

test('a SWUpdate that stops reading is ended with all that it started, and the error names the file', async () => {
  const pids = await withFake('nothing', () => assert.rejects(install(whole(), 500), isStall))
  assert.equal(pids.length, 2)
  assert.deepEqual(await Promise.all(pids.map(runs)), [false, false])
})

test('so is a real one that is stopped by a signal', async () => {
  const seen: number[] = []
  async function* halfway(): AsyncGenerator<Buffer> {
    yield firstPart
    seen.push(...(await children()))
    for (const child of seen) await stopGroup(child)
    yield secondPart
    assert.fail('all of it was taken')
  }
  await assert.rejects(install(halfway(), 1_000), isStall)
  assert.equal(seen.length, 1)
  assert.deepEqual(await children(), [])
})

async function children(): Promise<number[]> {
  const all = await readFile(`/proc/self/task/${process.pid}/children`, 'utf8')
  const named = (all.match(/\d+/g) ?? []).map(async pid => [pid, await readFile(`/proc/${pid}/comm`, 'utf8')])
  return (await Promise.all(named)).filter(([, name]) => name === 'swupdate\n').map(([pid]) => Number(pid))
}

for (const [how, what] of [
  ['slowly', 'that reads slowly'],
  ['talks', 'that works after the last byte, and says so'],
] as const) {
  test(`a SWUpdate ${what} may take longer than the limit`, async () => {
    const begun = performance.now()
    // It writes nothing to the slot, which is found out after its success only.
    await withFake(how, () => assert.rejects(install(whole(), 2_000), { code: 'BUNDLE_UNWRITTEN' }))
    assert.ok(performance.now() - begun > 2_000)
  })
}

test('a network that is slow does not count against SWUpdate', async () => {
  async function* slow(): AsyncGenerator<Buffer> {
    yield firstPart
    await sleep(4_000)
    yield secondPart
  }
  await install(slow(), 3_000)
  assert.ok((await readFile(slot)).equals(await readFile(join(dir, 'system'))))
})

test('a card that still writes is a sign of life, and only that', async () => {
  let position = 0
  const watch = new StallWatch(
    200,
    async () => String(position),
    () => new Error('late'),
  )
  const writing = setInterval(() => position++, 20)
  await watch.during(sleep(1_000))
  assert.equal(watch.signal.aborted, false)
  clearInterval(writing)
  await watch.during(new Promise(resolve => watch.signal.addEventListener('abort', resolve)))
  assert.match(String(watch.signal.reason), /late/)
  watch.end()
})
