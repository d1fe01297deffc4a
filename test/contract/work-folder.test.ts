import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, describe } from 'node:test'
import { FileWorkFolder } from '../../src/adapters/files/work-folder.ts'
import { type Config, downloadsFolder } from '../../src/config/config.ts'
import type { FileEntity, Verified } from '../../src/domain/deployment.ts'
import { AgentError } from '../../src/domain/errors.ts'
import type { WorkFolder } from '../../src/ports/work-folder.ts'
import { withholdEnd } from '../../src/trust/withheld-end.ts'
import { MemoryWorkFolder } from '../workflow/memory-work-folder.ts'

const root = await mkdtemp(join(tmpdir(), 'work-folder-'))
after(() => rm(root, { recursive: true }))

const warnings: string[] = []
const log = { debug() {}, info() {}, warn: (event: string) => void warnings.push(event), error() {} }

const content = Buffer.from('what the step needs\n'.repeat(9000))
const file = {
  ...{ fileId: 'f1', fileName: 'step.sh', sizeInBytes: content.length },
  sha256: createHash('sha256').update(content).digest(),
} as FileEntity as Verified<FileEntity>
const step = { workflowId: 'W1', path: [1, 0] }

async function* pieces(bytes: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += 10_000) yield bytes.subarray(at, at + 10_000)
}
const right = () => withholdEnd(pieces(content), file)

let count = 0
const fresh = () => join(root, String(count++), 'downloads')
const KINDS: Readonly<Record<string, () => WorkFolder>> = {
  fake: () => new MemoryWorkFolder(),
  files: () => new FileWorkFolder(fresh(), log),
}

for (const [name, make] of Object.entries(KINDS)) {
  describe(`WorkFolder: ${name}`, () => {
    test('a file that was written is there, for its step only', async () => {
      const folder = make()
      assert.equal(await folder.has(step, file), false)
      await folder.write(step, file, right())
      assert.equal(await folder.has(step, file), true)
      assert.equal(await folder.has({ ...step, path: [1] }, file), false)
      assert.equal(await folder.has({ ...step, workflowId: 'W2' }, file), false)
    })

    test('a file whose bytes are wrong does not appear, and the error is that of the bytes', async () => {
      const folder = make()
      const wrong = withholdEnd(pieces(Buffer.alloc(content.length, 1)), file)
      await assert.rejects(folder.write(step, file, wrong), { code: 'FILE_HASH' })
      assert.equal(await folder.has(step, file), false)
      await folder.write(step, file, right())
      assert.equal(await folder.has(step, file), true)
    })

    test('of all workflows one is kept, or none', async () => {
      const folder = make()
      const other = { ...step, workflowId: 'W2' }
      await folder.write(step, file, right())
      await folder.write(other, file, right())
      await folder.keepOnly('W2')
      assert.deepEqual([await folder.has(step, file), await folder.has(other, file)], [false, true])
      await folder.keepOnly(undefined)
      assert.equal(await folder.has(other, file), false)
      await folder.keepOnly(undefined)
    })

    test('it says how much room there is', async () => assert.ok((await make().free()) > 0))
  })
}

test('in downloadsFolder only the agent’s own folder is its to empty, also where the owner has named the data folder', async () => {
  const dataFolder = join(root, String(count++))
  await mkdir(join(dataFolder, 'identity'), { recursive: true })
  await writeFile(join(dataFolder, 'journal.json'), '{}')
  for (const config of [{ dataFolder, downloadsFolder: dataFolder }, { dataFolder }]) {
    const folder = new FileWorkFolder(downloadsFolder(config as Config), log)
    await folder.write(step, file, right())
    await folder.keepOnly(undefined)
    assert.equal(await folder.has(step, file), false)
    assert.ok(['identity', 'journal.json'].every(each => readdirSync(dataFolder).includes(each)))
  }
})

describe('WorkFolder: what only files can be', () => {
  const made = async () => {
    const where = fresh()
    const folder = new FileWorkFolder(where, log)
    const victim = join(root, `victim-${count++}`)
    await mkdir(victim)
    await writeFile(join(victim, 'step.sh'), content)
    return { where, folder, victim }
  }

  test('only the agent’s user can read it', async () => {
    const { folder, where } = await made()
    await folder.write(step, file, right())
    assert.equal((await stat(join(where, 'W1'))).mode & 0o777, 0o700)
    assert.equal((await stat(join(where, 'W1/1.0/step.sh'))).mode & 0o777, 0o600)
    assert.deepEqual(await readdir(join(where, 'W1')), ['1.0'])
  })

  test('a link in the place of a folder or a file is never followed', async () => {
    for (const place of ['W1', 'W1/1.0', 'W1/1.0/step.sh', 'W1/1.0.part']) {
      const { folder, where, victim } = await made()
      await mkdir(join(where, place, '..'), { recursive: true })
      await symlink(
        place.endsWith('.sh') || place.endsWith('.part') ? join(victim, 'step.sh') : victim,
        join(where, place),
      )
      const before = await readdir(victim)
      if (place.endsWith('.sh')) assert.equal(await folder.has(step, file), false, 'the link has the right content')
      await folder.write(step, file, right())
      assert.equal(await folder.has(step, file), true, place)
      await folder.keepOnly(undefined)
      assert.deepEqual(await readdir(victim), before, place)
      assert.ok((await readFile(join(victim, 'step.sh'))).equals(content), place)
    }
  })

  test('a file of another content, and a folder of its name, give way', async () => {
    const { folder, where } = await made()
    await mkdir(join(where, 'W1/1.0/step.sh/more'), { recursive: true })
    assert.equal(await folder.has(step, file), false)
    await folder.write(step, file, right())
    await writeFile(join(where, 'W1/1.0/step.sh'), Buffer.alloc(content.length))
    assert.equal(await folder.has(step, file), false)
    await folder.write(step, file, right())
    assert.equal(await folder.has(step, file), true)
  })

  test('a folder that cannot be is an error with its name', async () => {
    const { where } = await made()
    await mkdir(join(where, '..'), { recursive: true })
    await writeFile(where, '')
    const folder = new FileWorkFolder(where, log)
    await assert.rejects(folder.write(step, file, right()), error => {
      assert.ok(error instanceof AgentError && error.code === 'WORK_FOLDER')
      return error.message.includes(where)
    })
    await assert.rejects(folder.free(), { code: 'WORK_FOLDER' })
    assert.equal(await folder.has(step, file), false)
    await folder.keepOnly(undefined)
    assert.deepEqual(warnings, ['work-folder.not-removed'])
  })
})
