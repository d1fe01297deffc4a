import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { layoutOf, makeDataPartition } from '../../image/builder/disk.ts'
import { repositoryRoot } from '../../image/builder/repository.ts'

const home = mkdtempSync(join(tmpdir(), 'data-partition-'))
after(() => rmSync(home, { recursive: true, force: true }))

test('a share of the data partition is for the agent’s group and root: the agent’s state always fits', async () => {
  const image = join(home, 'data.ext4')
  const layout = layoutOf(readFileSync(join(repositoryRoot(), 'image/partitions.sfdisk'), 'utf8'))
  await makeDataPartition(
    image,
    layout.data.size,
    home,
    [`0755 ${process.getuid!()} ${process.getgid!()} adu`],
    1_760_000_000,
  )
  const facts = execFileSync('dumpe2fs', ['-h', image], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  const fact = (name: string): string => new RegExp(`^${name}: +(\\S+)`, 'm').exec(facts)?.[1] ?? ''
  const users = readFileSync(join(repositoryRoot(), 'image/rootfs/usr/lib/sysusers.d/pi-adu.conf'), 'utf8')
  assert.equal(fact('Reserved blocks gid'), /^u!? adu (\d+)/m.exec(users)?.[1])
  // Its journal, identity, keys and notes are below 1 MiB.
  assert.ok(Number(fact('Reserved block count')) * Number(fact('Block size')) >= 3 * 2 ** 20)
})

test('the same call gives the same bytes, whenever it is made', async () => {
  const { size } = layoutOf(readFileSync(join(repositoryRoot(), 'image/partitions.sfdisk'), 'utf8')).data
  const folders = ['adu', 'adu/state', 'log'].map(path => `0755 ${process.getuid!()} ${process.getgid!()} ${path}`)
  const sums: string[] = []
  for (const name of ['one', 'two']) {
    const image = join(home, `${name}.ext4`)
    await makeDataPartition(image, size, mkdtempSync(join(home, 'work-')), folders, 1_760_000_000)
    sums.push(execFileSync('sha256sum', [image], { encoding: 'utf8' }).slice(0, 64))
    await sleep(1100)
  }
  assert.equal(sums[0], sums[1])
})
