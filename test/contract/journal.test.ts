import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, describe } from 'node:test'
import { execa } from 'execa'
import { type Disk, disk } from '../../src/adapters/files/disk.ts'
import { FileJournal } from '../../src/adapters/files/journal.ts'
import { sealed } from '../../src/adapters/files/sealed.ts'
import { type Attempt, JOURNAL_FORMAT } from '../../src/domain/attempt.ts'
import { pendingSteps } from '../../src/domain/step-record.ts'
import type { JournalContent } from '../../src/ports/journal.ts'
import { FakeDevice } from '../workflow/fake-device.ts'
import { damage, damagedAnywhere, MemoryDisk } from '../workflow/memory-disk.ts'
import { watched } from '../workflow/watched.ts'

const folder = await mkdtemp(join(tmpdir(), 'journal-'))
after(() => rm(folder, { recursive: true }))

const events: string[] = []
const log = { debug() {}, info() {}, warn() {}, error: (event: string) => void events.push(event) }

const attempt: Attempt = {
  format: JOURNAL_FORMAT,
  workflow: { action: 3, id: 'W1', retryTimestamp: '2026-01-01T00:00:00Z' },
  fingerprint: 'F1',
  updateId: { provider: 'contoso', name: 'toaster', version: '2.0.0' },
  installedCriteria: '2.0.0 "ä"',
  installs: 1,
  reboots: 0,
  installedTo: 'b',
  milestones: ['agent started'],
  cause: { extendedResultCode: 0x3210000d, details: 'x' },
  cancelledBy: 'C',
  result: { resultCode: 0, extendedResultCodes: [0xa0000fff], resultDetails: 'y' },
  steps: [
    {
      ...{
        path: [0],
        handler: 'microsoft/swupdate:2',
        component: 'x',
        state: 'failed',
        starts: 2,
        bootId: 'B',
        wants: 'trial',
      },
      result: { resultCode: 0, extendedResultCode: 0xa0000fff, resultDetails: 'y' },
    },
  ],
  reported: true,
  origin: 'deviceUpdate',
  times: { begun: '2026-01-01T00:00:00.000Z' },
}

let count = 0
for (const [name, make] of [
  ['the fake', () => new FakeDevice().plainPorts().journal],
  ['a file', () => new FileJournal(join(folder, `new-${count++}`, 'journal.json'), log)],
] as const) {
  describe(`Journal: ${name}`, () => {
    test('is empty at first', async () => assert.deepEqual(await make().read(), { is: 'none' }))

    test('gives back what was written last, in full', async () => {
      const journal = make()
      await journal.write({ ...attempt, installs: 0 })
      await journal.write(attempt)
      assert.deepEqual(await journal.read(), { is: 'attempt', attempt })
    })
  })
}

const quiet = { debug() {}, info() {}, warn() {}, error() {} }

/** A journal whose last two writes are `attempt` with 1 and with 2 installs. */
async function twoGenerations(name: string): Promise<{ file: string; journal: FileJournal }> {
  const file = join(folder, name, 'journal.json')
  const journal = new FileJournal(file, log)
  for (const installs of [0, 1, 2]) await journal.write({ ...attempt, steps: pending, installs })
  events.length = 0
  return { file, journal }
}

const pending = pendingSteps([
  { path: [0], handler: 'microsoft/swupdate:2' },
  { path: [1], handler: 'microsoft/script:1' },
])
const installsOf = (content: JournalContent): number | string =>
  content.is === 'attempt' ? content.attempt.installs : content.is

describe('a file only', () => {
  test('is for the agent alone, and only the generation before is beside it', async () => {
    const { file } = await twoGenerations('own')
    assert.deepEqual((await readdir(join(folder, 'own'))).sort(), ['journal.json', 'journal.json.old'])
    for (const each of [file, `${file}.old`]) assert.equal((await stat(each)).mode & 0o777, 0o600)
  })

  test('fields that another agent added are kept and harmless', async () => {
    const { file, journal } = await twoGenerations('fields')
    await writeFile(file, sealed({ ...attempt, source: 'future', result: { ...attempt.result, more: 1 } }))
    const content = await journal.read()
    assert.equal(content.is === 'attempt' && content.attempt.installedTo, 'b')
  })

  for (const [name, text] of [
    ['empty', ''],
    ['cut off', sealed(attempt).slice(0, 60)],
    ['without its checksum', `${JSON.stringify(attempt)}\n`],
    ['with words behind it', `${sealed(attempt)} `],
    ['of another shape', sealed({ workflow: 3 })],
    ['without a format', sealed({ ...attempt, format: undefined })],
    ['of no format that there is', sealed({ ...attempt, format: 0 })],
    ['zeros', '\0'.repeat(4096)],
  ] as const) {
    test(`${name}, alone: lost, logged once, and can be written again`, async () => {
      const { file, journal } = await twoGenerations(name)
      await rm(`${file}.old`)
      await writeFile(file, text)
      for (const _ of [1, 2]) assert.equal((await journal.read()).is, 'lost')
      assert.deepEqual(events, ['journal.lost'])
      await journal.write(attempt)
      assert.deepEqual(await journal.read(), { is: 'attempt', attempt })
      // Both generations are good again.
      await rm(file)
      assert.equal((await journal.read()).is, 'attempt')
    })

    test(`${name}: the generation before, whose next step may have run`, async () => {
      const { file, journal } = await twoGenerations(`${name}, newest`)
      await writeFile(file, text)
      for (const _ of [1, 2]) {
        const content = await journal.read()
        assert.ok(content.is === 'attempt')
        assert.match(content.attempt.gap ?? '', /journal\.json /)
        const [first, second] = pending
        const steps = [{ ...first, mayHaveRun: true }, second]
        assert.deepEqual(content.attempt, { ...attempt, installs: 1, steps, gap: content.attempt.gap })
      }
      assert.deepEqual(events, ['journal.recovered'])
      await journal.write(attempt)
      assert.deepEqual(await journal.read(), { is: 'attempt', attempt })
    })

    test(`${name}, in the generation before: costs nothing`, async () => {
      const { file, journal } = await twoGenerations(`${name}, older`)
      await writeFile(`${file}.old`, text)
      assert.equal(installsOf(await journal.read()), 2)
      await journal.write({ ...attempt, installs: 3 })
      await writeFile(file, text)
      assert.equal(installsOf(await journal.read()), 2)
    })

    test(`${name}, in both: lost`, async () => {
      const { file, journal } = await twoGenerations(`${name}, both`)
      for (const each of [file, `${file}.old`]) await writeFile(each, text)
      assert.equal((await journal.read()).is, 'lost')
    })
  }

  test('cut off or turned at any byte: the generation before, never something else', async () => {
    const { file, journal } = await twoGenerations('bytes')
    const good = await readFile(file)
    for (const { at, bad } of damagedAnywhere(good)) {
      await writeFile(file, bad)
      assert.equal(installsOf(await journal.read()), 1, `byte ${at}`)
    }
  })

  test('a sector that cannot be read is damage; a file that may not be read is an error', async () => {
    const { file, journal } = await twoGenerations('sector')
    await rm(file)
    // Gives an input/output error at its first byte.
    await symlink('/proc/self/mem', file)
    assert.equal(installsOf(await journal.read()), 1)
    await journal.write(attempt)
    assert.deepEqual(await journal.read(), { is: 'attempt', attempt })
    await rm(file)
    await mkdir(file)
    await assert.rejects(journal.read(), { code: 'JOURNAL', message: /cannot read the journal .*journal\.json/ })
  })

  test('the generation before is kept also where a file cannot have a second name', async () => {
    const other = await mkdtemp('/dev/shm/journal-')
    try {
      await disk.write(join(other, 'one'), 'content')
      for (const _ of [1, 2]) await disk.copy(join(other, 'one'), join(folder, 'two'))
      assert.equal(await readFile(join(folder, 'two'), 'utf8'), 'content')
      const [from, to] = await Promise.all([stat(join(other, 'one')), stat(join(folder, 'two'))])
      // On most machines these are two file systems.
      if (from.dev !== to.dev) assert.equal(to.nlink, 1)
    } finally {
      await rm(other, { recursive: true })
    }
  })

  test('a folder that cannot be written to is named', async () => {
    await mkdir(join(folder, 'blocked'))
    await writeFile(join(folder, 'blocked', 'file'), '')
    const journal = new FileJournal(join(folder, 'blocked', 'file', 'journal.json'), log)
    await assert.rejects(journal.write(attempt), {
      code: 'JOURNAL',
      message: /cannot (read|write) the journal .*journal\.json/,
    })
  })

  /** What a disk holds at each moment at which the power may go in a write of 3 installs. */
  async function* cuts(before: MemoryDisk): AsyncGenerator<MemoryDisk> {
    const copyOf = ({ files }: MemoryDisk): MemoryDisk => Object.assign(new MemoryDisk(), { files: new Map(files) })
    const seen: MemoryDisk[] = [copyOf(before)]
    const noting = watched<Disk>('disk', before, async (effect, work) => {
      const done = await work()
      if (effect === 'disk.write') {
        const torn = copyOf(before)
        damage(torn, 'journal.json.new', content => content.subarray(0, content.length / 2))
        seen.push(torn)
      }
      seen.push(copyOf(before))
      return done
    })
    await new FileJournal('journal.json', quiet, noting).write({ ...attempt, installs: 3 })
    yield* seen
  }

  for (const [name, spoil, may] of [
    ['good', () => {}, [2, 3]],
    ['damaged in the newest', (disk: MemoryDisk) => damage(disk, 'journal.json', () => Buffer.from('x')), [1, 3]],
    ['damaged in the older', (disk: MemoryDisk) => damage(disk, 'journal.json.old', () => Buffer.from('x')), [2, 3]],
    ['without the newest', (disk: MemoryDisk) => damage(disk, 'journal.json', () => undefined), [1, 3]],
    ['new', (disk: MemoryDisk) => disk.files.clear(), ['none', 3]],
    [
      'lost',
      (disk: MemoryDisk) => disk.files.forEach((_, file) => void disk.files.set(file, Buffer.alloc(9))),
      ['lost', 3],
    ],
  ] as const) {
    test(`a power cut at any effect of a write to a journal that is ${name}`, async () => {
      const make = async (): Promise<MemoryDisk> => {
        const disk = new MemoryDisk()
        const journal = new FileJournal('journal.json', quiet, disk)
        for (const installs of [0, 1, 2]) await journal.write({ ...attempt, installs })
        spoil(disk)
        return disk
      }
      const reached = new Set<number | string>()
      for await (const disk of cuts(await make())) {
        const journal = new FileJournal('journal.json', quiet, disk)
        const read = installsOf(await journal.read())
        assert.ok((may as readonly unknown[]).includes(read), `${read}`)
        reached.add(read)
        // What was left by the cut is in nobody's way, and damage after it costs one write and no more.
        await journal.write({ ...attempt, installs: 4 })
        assert.equal(installsOf(await journal.read()), 4)
        await journal.write({ ...attempt, installs: 5 })
        damage(disk, 'journal.json', () => Buffer.from('x'))
        assert.equal(installsOf(await journal.read()), 4)
      }
      assert.equal(reached.size, 2)
    })
  }

  test('kill -9 at any moment leaves the old journal or the new one, and neither needs the generation before', async () => {
    const target = join(folder, 'killed', 'journal.json')
    const program = `
      import { FileJournal } from ${JSON.stringify(new URL('../../src/adapters/files/journal.js', import.meta.url).href)}
      const journal = new FileJournal(process.argv[1], { debug() {}, info() {}, warn() {}, error() {} })
      for (let installs = 1; ; installs++) await journal.write({ ...${JSON.stringify(attempt)}, installs })`
    let last = 0
    events.length = 0
    for (let round = 0; round < 12; round++) {
      const child = execa(process.execPath, ['--input-type=module', '-e', program, '--', target], { reject: false })
      while (!(await stat(target).catch(() => undefined)) && child.exitCode === null)
        await new Promise(resolve => setTimeout(resolve, 5))
      await new Promise(resolve => setTimeout(resolve, 60 + 17 * round))
      child.kill('SIGKILL')
      const { stderr } = await child
      assert.equal(stderr, '')
      const read = await new FileJournal(target, log).read()
      assert.ok(read.is === 'attempt')
      const { installs } = read.attempt
      assert.deepEqual(read.attempt, { ...attempt, installs })
      assert.deepEqual(events, [])
      last = Math.max(last, installs)
    }
    assert.ok(last > 1, 'the program wrote while it was killed')
  })
})
