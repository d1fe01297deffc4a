import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { CHOICE } from '../bench/qemu/choice.ts'
import { decodeBootEnv, encodeBootEnv } from '../bench/workbench/boot-env.ts'
import { decide } from '../bench/workbench/boot-rule.ts'
import { rawEnv } from './raw-env.ts'
import { UbootDisk } from './uboot-disk.ts'

let dir: string
let disk: UbootDisk
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'boot-script-'))
  disk = await UbootDisk.make(dir)
})
after(() => rm(dir, { recursive: true, force: true }))

const good = {
  a: encodeBootEnv({ primary: 'a', trial: 'none', tries: 0 }),
  b: encodeBootEnv({ primary: 'b', trial: 'none', tries: 0 }),
}
const torn = Buffer.from(good.b).fill(0x55, 256)
const pending = (primary: 'a' | 'b', tries: number) => encodeBootEnv({ primary, trial: 'pending', tries })
const failed = (primary: 'a' | 'b') => encodeBootEnv({ primary, trial: 'failed', tries: 0 })

const CASES: readonly [string, Buffer | undefined, Buffer | undefined][] = [
  ['a committed', good.a, good.a],
  ['b committed', good.b, good.b],
  ['b committed, which the second copy does not know', good.b, good.a],
  ['a committed, no second copy', good.a, undefined],
  ['b committed, second copy torn', good.b, torn],
  ['b on trial, first try', pending('b', 3), good.a],
  ['a on trial, last try', pending('a', 1), good.b],
  ['a on trial, as many tries as one digit can say', pending('a', 9), good.b],
  ['b on trial, no try left', pending('b', 0), good.a],
  ['a on trial, no try left', pending('a', 0), good.b],
  ['a, after b failed', failed('a'), good.a],
  ['b, after a failed', failed('b'), good.b],
  ['torn, b known', torn, good.b],
  ['torn, a known', torn, good.a],
  ['both torn', torn, torn],
  ['both missing', undefined, undefined],
  ['cut short', good.b.subarray(0, 100), good.b],
  ['empty', Buffer.alloc(0), good.b],
  ['zeros', Buffer.alloc(512), good.b],
  ['a slot that does not exist', rawEnv({ primary: 'c', trial: 'none', tries: '0' }), good.b],
  ['no trial named', rawEnv({ primary: 'b' }), good.b],
  ['a trial of a kind that does not exist', rawEnv({ primary: 'b', trial: 'maybe', tries: '3' }), good.b],
  ['a count that is none', rawEnv({ primary: 'b', trial: 'pending', tries: 'x' }), good.a],
  ['a count of two digits', rawEnv({ primary: 'b', trial: 'pending', tries: '12' }), good.a],
  ['a second copy that says pending', torn, pending('b', 2)],
  ['variables of others', rawEnv({ primary: 'b', trial: 'none', tries: '0', bootcmd: 'reset', slot: 'a' }), good.b],
]

for (const [name, env, backup] of CASES) {
  test(`the boot script obeys the rule: ${name}`, async () => {
    const state = env && decodeBootEnv(env)
    const known = backup && decodeBootEnv(backup)
    const expected = decide(state, known)
    await disk.prepare({ 'boot.env': env, 'boot.bak': backup })
    const machine = await disk.powerOn()
    try {
      const [, slot, why] = await machine.waitFor(CHOICE, 120_000)
      assert.deepEqual([slot, why], [expected.boot, expected.reason])
    } finally {
      await machine.powerCut()
    }
    const written = await disk.read('boot.env')
    if (expected.write) assert.deepEqual(written, encodeBootEnv(expected.write))
    else assert.deepEqual(written, env)
    const copy = await disk.read('boot.bak')
    if (expected.backup) assert.deepEqual(copy && decodeBootEnv(copy), { ...expected.backup, trial: 'none' })
    else assert.deepEqual(copy, backup)
  })
}

test('a slot that cannot be started uses up its tries, then the other one is chosen', async () => {
  await disk.prepare({ 'boot.env': pending('b', 2), 'boot.bak': good.a })
  const machine = await disk.powerOn()
  try {
    const seen: string[] = []
    let from = 0
    while (seen.length < 4) {
      const match = await machine.waitFor(CHOICE, 120_000, from)
      from = match.end
      seen.push(match.slice(1, 5).join(' ').trim())
    }
    assert.deepEqual(seen, [
      'b trial pending 1',
      'b trial pending 0',
      'a fell back failed',
      'b other slot cannot be started failed',
    ])
  } finally {
    await machine.powerCut()
  }
})
