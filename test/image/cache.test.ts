import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'

const dir = await mkdtemp(join(tmpdir(), 'cache-'))
process.env.XDG_CACHE_HOME = dir
const { cached, contentOf } = await import('../../image/build/cache.ts')
const home = join(dir, 'pi-adu-agent')
after(() => rm(dir, { recursive: true, force: true }))

test('what is cached is made once for the same inputs', async () => {
  let made = 0
  const make = (work: string) => writeFile(join(work, 'file'), String(++made))
  const first = await cached('once', ['a', 1], make)
  assert.equal(await cached('once', ['a', 1], make), first)
  assert.notEqual(await cached('once', ['a', 2], make), first)
  assert.equal(await readFile(join(first, 'file'), 'utf8'), '1')
  assert.equal(made, 2)
})

test('what fails leaves nothing that a later build would take for complete', async () => {
  const fails = async (work: string): Promise<void> => {
    await writeFile(join(work, 'half'), '')
    throw new Error('no space')
  }
  await assert.rejects(cached('fails', [], fails), /no space/)
  assert.deepEqual(await readdir(join(home, 'fails')), [])
})

test('what was not used for a day is forgotten, but for the last few; what was interrupted, at once', async () => {
  const nothing = async (): Promise<void> => {}
  const old = await Promise.all([1, 2, 3, 4, 5, 6].map(input => cached('old', [input], nothing)))
  for (const [days, path] of old.entries()) await utimes(path, 0, Date.now() / 1000 - (days + 1.5) * 86_400)
  // No process has a number as high as that.
  await mkdir(join(home, 'old/0123.new-99999999'))
  const underWay = join(home, `old/4567.new-${process.pid}`)
  await mkdir(underWay)
  // Used again, and so younger than the rest.
  await cached('old', [6], nothing)
  const fresh = await cached('old', [7], nothing)
  const left = (await readdir(join(home, 'old'))).map(name => join(home, 'old', name))
  assert.deepEqual(left.sort(), [fresh, underWay, old[5], old[0], old[1]].sort())
})

test('a content is known by names and bytes, wherever it lies', async () => {
  const folders = ['one', 'two', 'three'].map(name => join(dir, name, 'list'))
  for (const folder of folders) {
    await mkdir(folder, { recursive: true })
    await writeFile(join(folder, 'a'), folder.includes('three') ? 'y' : 'x')
  }
  const [one, two, three] = await Promise.all(folders.map(folder => contentOf(folder)))
  assert.equal(one, two)
  assert.notEqual(one, three)
})
