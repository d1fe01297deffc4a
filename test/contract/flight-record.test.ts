import assert from 'node:assert/strict'
import { appendFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir, uptime } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { FlightRecord, flightFiles } from '../../src/adapters/files/flight-record.ts'

const home = await mkdtemp(join(tmpdir(), 'flight-record-'))
after(() => rm(home, { recursive: true, force: true }))

const KEY = '0123456789abcdef'
let devices = 0

async function device() {
  devices += 1
  const files = flightFiles(join(home, `${devices}`, 'data'), join(home, `${devices}`, 'flight'))
  await mkdir(join(home, `${devices}`, 'data'), { recursive: true })
  await mkdir(join(home, `${devices}`, 'flight'))
  const warnings: string[] = []
  const log = { debug() {}, info() {}, warn: (event: string) => void warnings.push(event), error() {} }
  const record = () => new FlightRecord(files, log)
  /** As the initramfs does. */
  const boots = async (...lines: readonly string[]) =>
    writeFile(files.boots, [`pi-adu-flight 1 ${(await readFile(files.key, 'utf8')).trim()}`, ...lines, ''].join('\n'))
  return { files, record, boots, warnings }
}

test('both halves of a boot come together, each milestone once, with seconds since the start of the kernel', async () => {
  const { record, boots, warnings } = await device()
  await record().expect(KEY)
  const start = uptime() - 20
  await boots(`boot b1 ${start}`, `initramfs ${start + 3}`, `root ${start + 4}`, `init ${start + 7}`)
  const trial = record()
  await trial.note(KEY, true)
  await trial.checked('modem', false)
  await trial.checked('modem', false)
  await trial.checked('modem', true)
  await trial.note(KEY, true)
  // Its process was started again.
  await record().note(KEY, true)
  const [boot, ...more] = (await record().read(KEY)) ?? []
  assert.equal(more.length, 0)
  const seen = boot?.milestones.filter(({ name }) => name !== 'time')
  assert.deepEqual(
    seen?.map(({ name, text }) => [name, text].filter(Boolean).join(' ')),
    [
      ...['initramfs', 'root', 'init', 'agent', 'network', 'hub', 'check modem failed', 'check modem ok'],
      ...['agent', 'network', 'hub'],
    ],
  )
  assert.deepEqual(
    seen?.slice(0, 3).map(({ seconds }) => seconds),
    [3, 4, 7],
  )
  assert.ok(seen!.slice(3).every(({ seconds }) => seconds >= 20 && seconds < 100))
  assert.deepEqual(warnings, [])
})

test('a line that a power cut has torn off swallows no other one', async () => {
  const { record, boots, files } = await device()
  await record().expect(KEY)
  await boots('boot b1 0', 'initramfs 3')
  await record().note(KEY, false)
  await appendFile(files.own, 'check modem 12')
  await boots('boot b1 0', 'initramfs 3', 'boot b2 0', 'initramfs 3')
  await record().note(KEY, true)
  const [, second] = (await record().read(KEY)) ?? []
  assert.equal(second?.id, 'b2')
  assert.ok(
    second.milestones.some(({ name }) => name === 'hub'),
    await readFile(files.own, 'utf8'),
  )
  // The agent alone was killed: no boot line is due.
  await appendFile(files.own, 'hu')
  await record().note(KEY, true)
  assert.ok(!(await readFile(files.own, 'utf8')).includes('huagent'))
})

test('a system whose initramfs writes nothing still has the half of the agent', async () => {
  const { record } = await device()
  await record().expect(KEY)
  await record().note(KEY, true)
  assert.deepEqual(
    (await record().read(KEY))?.map(({ id, milestones }) => [id, milestones[0]?.name]),
    [['unknown', 'agent']],
  )
})

test('a record of another attempt, of an earlier trial of this one, or of another version is none', async () => {
  const { record, boots, files } = await device()
  assert.equal(await record().read(KEY), undefined)
  await record().expect(KEY)
  await boots('boot b1 0', 'initramfs 3')
  assert.equal((await record().read(KEY))?.length, 1)
  assert.equal(await record().read('fedcba9876543210'), undefined)
  await record().expect(KEY)
  assert.equal(await record().read(KEY), undefined)
  await boots('boot b2 0')
  assert.equal((await record().read(KEY))?.length, 1)
  await writeFile(files.boots, (await readFile(files.boots, 'utf8')).replace('pi-adu-flight 1', 'pi-adu-flight 2'))
  assert.equal(await record().read(KEY), undefined)
})

test('a disk that cannot be written to, and files that are none, cost the record and nothing else', async () => {
  const { record, files, warnings } = await device()
  await mkdir(files.boots)
  await mkdir(files.key)
  await mkdir(files.own)
  await record().expect(KEY)
  await record().note(KEY, true)
  assert.equal(await record().read(KEY), undefined)
  assert.deepEqual(warnings, ['flight.not-recorded'])
  await rm(files.key, { recursive: true })
  await record().expect(KEY)
  await record().note(KEY, true)
  assert.deepEqual(warnings, ['flight.not-recorded', 'flight.not-recorded'])
})
