import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { blocksFor, makeRootImage, needsOf } from '../../image/builder/ext4.ts'

const home = mkdtempSync(join(tmpdir(), 'ext4-'))
after(() => rmSync(home, { recursive: true, force: true }))
const path = process.env.PATH
process.env.PATH = `${path}:/usr/sbin:/sbin`

let trees = 0
function makeTree(fill: (tree: string) => void): string {
  const tree = join(home, `tree-${trees++}`)
  mkdirSync(tree)
  fill(tree)
  return tree
}

/** Makes the image and lets e2fsck look at it. Gives what is in use and what is free. */
async function made(
  tree: string,
): Promise<{ readonly inodes: number; readonly freeInodes: number; readonly freeBlocks: number }> {
  const image = join(home, 'image')
  await makeRootImage(tree, image, 1_760_000_000)
  execFileSync('e2fsck', ['-fn', image], { stdio: 'pipe' })
  const text = execFileSync('dumpe2fs', ['-h', image], { encoding: 'utf8', stdio: 'pipe' })
  const figure = (name: string): number => Number(new RegExp(`^${name}: +(\\d+)`, 'm').exec(text)?.[1])
  return { inodes: figure('Inode count'), freeInodes: figure('Free inodes'), freeBlocks: figure('Free blocks') }
}

const files = (tree: string, count: number): void => {
  for (let n = 0; n < count; n++) writeFileSync(join(tree, `file-${n}`), '')
}

/** A file with a hole: it counts as what it may become, and costs nothing here. */
const large = (tree: string, mebibytes: number): void => {
  writeFileSync(join(tree, 'large'), '')
  truncateSync(join(tree, 'large'), mebibytes * 2 ** 20)
}

// Three groups: of 4,967 inodes mke2fs made 4,896.
test('a tree of 4,903 files and 250 MiB, for which mke2fs rounds the number of inodes down', async () => {
  const tree = makeTree(tree => {
    files(tree, 4901)
    large(tree, 250)
  })
  assert.equal((await needsOf(tree)).inodes, 4903)
  const { freeInodes } = await made(tree)
  assert.ok(freeInodes >= 64 && freeInodes < 500, `${freeInodes} free`)
})

test('every number of files finds its inodes, in one group as in many', async () => {
  for (const mebibytes of [1, 127, 260, 390]) {
    const tree = makeTree(tree => large(tree, mebibytes))
    let count = 0
    for (const more of [1, 40, 7, 300, 17, 900, 33]) {
      for (const end = count + more; count < end; count++) writeFileSync(join(tree, `file-${count}`), '')
      const { freeInodes } = await made(tree)
      assert.ok(freeInodes >= 64, `${mebibytes} MiB, ${count} files: ${freeInodes} free`)
    }
    rmSync(tree, { recursive: true })
  }
})

test('every content finds its blocks: small files, long names, long links, several names', async () => {
  let seed = 1
  const random = (below: number): number => {
    seed = (seed * 48_271) % 2_147_483_647
    return seed % below
  }
  for (let round = 0; round < 12; round++) {
    const tree = makeTree(tree => {
      for (let folder = 0; folder < 1 + random(20); folder++) {
        const dir = join(tree, 'd'.repeat(1 + random(200)) + folder)
        mkdirSync(dir)
        for (let n = random(120); n > 0; n--) {
          const name = `${n}${'n'.repeat(random(240))}`
          if (n % 7 === 0) symlinkSync('x'.repeat(1 + random(300)), join(dir, name))
          else writeFileSync(join(dir, name), Buffer.alloc(random(3) * random(9000), 'x'))
        }
        writeFileSync(join(dir, 'one'), 'x'.repeat(5000))
        linkSync(join(dir, 'one'), join(dir, 'two'))
      }
    })
    const needs = await needsOf(tree)
    const { freeBlocks, inodes, freeInodes } = await made(tree)
    assert.equal(inodes - freeInodes, needs.inodes + 10)
    // The margin is what was asked for, neither eaten up nor much more.
    assert.ok(freeBlocks >= 900 && freeBlocks <= 1500 + needs.blocks / 10, `${freeBlocks} of ${blocksFor(needs)} free`)
    rmSync(tree, { recursive: true })
  }
})

test('the same tree gives the same bytes', async () => {
  const tree = makeTree(tree => files(tree, 100))
  const sums: string[] = []
  for (const name of ['one', 'two']) {
    await makeRootImage(tree, join(home, name), 1_760_000_000)
    sums.push(execFileSync('sha256sum', [join(home, name)], { encoding: 'utf8' }).slice(0, 64))
  }
  assert.equal(sums[0], sums[1])
})
