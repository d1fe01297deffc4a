import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { after, test } from 'node:test'
import { execa } from 'execa'

const dir = await mkdtemp(join(tmpdir(), 'cache-'))
process.env.XDG_CACHE_HOME = dir
const { cacheSize, cached, contentOf, tidy } = await import('../../image/builder/cache.ts')
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

/** Asks for entries in a process of its own, and prints where they are; it stays until it is killed with `stay`. */
function otherBuild(kind: string, inputs: readonly unknown[], stay = false) {
  const text = `const { cached } = await import(${JSON.stringify(new URL('../../image/builder/cache.js', import.meta.url))})
    for (const input of ${JSON.stringify(inputs)}) console.log(await cached('${kind}', [input], async () => {}))
    ${stay ? 'setInterval(() => {}, 1000)' : ''}`
  return execa(process.execPath, ['--input-type=module', '-e', text], { reject: false })
}

test('of each kind the last two are kept, and what a build that still runs has asked for', async () => {
  const { stdout } = await otherBuild('old', [1, 2, 3, 4, 5])
  const old = stdout.split('\n')
  // Made in this order, and the first one used again: of entries made by a build that has ended two stay.
  const names = async (): Promise<string[]> =>
    (await readdir(join(home, 'old'))).map(name => join(home, 'old', name)).sort()
  assert.equal((await names()).length, 5)
  for (const [age, path] of old.entries()) await utimes(path, 0, Date.now() / 1000 - 1000 + age)
  // No process has a number as high as that.
  await mkdir(join(home, 'old/0123.new-99999999'))
  const underWay = join(home, `old/4567.new-${process.pid}`)
  await mkdir(underWay)
  const running = otherBuild('old', [1], true)
  await new Promise(resolve => running.stdout.once('data', resolve))
  try {
    const { stdout: fresh } = await otherBuild('old', [6])
    assert.deepEqual(await names(), [underWay, old[0], fresh].sort())
  } finally {
    running.kill()
    await running
  }
  const { stdout: last } = await otherBuild('old', [7, 8])
  assert.deepEqual(await names(), [underWay, ...last.split('\n')].sort())
})

test('the cache says how large it is, and is emptied on demand but for what is in use', async () => {
  const own = await cached('large', [1], work => writeFile(join(work, 'file'), Buffer.alloc(2 ** 20, 1)))
  await otherBuild('large', [2])
  const { home: where, bytes } = await cacheSize()
  assert.equal(where, home)
  assert.ok(bytes > 2 ** 20 && bytes < 2 ** 21, String(bytes))
  await tidy(0)
  assert.deepEqual(await readdir(join(home, 'large')), [basename(own)])
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
