import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { type BootEnv, decodeBootEnv, encodeBootEnv, readBootEnv, writeBootEnv } from '../bench/workbench/boot-env.ts'
import { afterUnstartable, decide } from '../bench/workbench/boot-rule.ts'
import { runProgram } from '../bench/workbench/program.ts'

const env = (primary: BootEnv['primary'], trial: BootEnv['trial'], tries: number): BootEnv => ({
  primary,
  trial,
  tries,
})
const a = env('a', 'none', 0)
const b = env('b', 'none', 0)

describe('the bootloader rule', () => {
  for (const [name, now, backup, expected] of [
    ['a committed slot boots and nothing is written', a, a, { boot: 'a', reason: 'committed' }],
    ['the second copy follows a commit', b, a, { boot: 'b', reason: 'committed', backup: b }],
    ['the second copy is made when it is missing', a, undefined, { boot: 'a', reason: 'committed', backup: a }],
    ['a trial costs a try', env('b', 'pending', 3), a, { boot: 'b', reason: 'trial', write: env('b', 'pending', 2) }],
    ['the last try', env('b', 'pending', 1), a, { boot: 'b', reason: 'trial', write: env('b', 'pending', 0) }],
    ['no tries left', env('b', 'pending', 0), a, { boot: 'a', reason: 'fell back', write: env('a', 'failed', 0) }],
    [
      'no tries left, other way',
      env('a', 'pending', 0),
      b,
      { boot: 'b', reason: 'fell back', write: env('b', 'failed', 0) },
    ],
    [
      'a failed trial is left for the agent to see',
      env('a', 'failed', 0),
      a,
      { boot: 'a', reason: 'trial failed before' },
    ],
    [
      'an unreadable env: the slot of the second copy, on trial',
      undefined,
      b,
      { boot: 'b', reason: 'env recovered', write: env('b', 'pending', 3) },
    ],
    [
      'an unreadable env and no second copy: slot a, on trial',
      undefined,
      undefined,
      { boot: 'a', reason: 'env recovered', write: env('a', 'pending', 3) },
    ],
  ] as const) {
    test(name, () => assert.deepEqual(decide(now, backup), expected))
  }

  test('a trial of a slot that cannot be started goes on by power cycles', () => {
    assert.equal(afterUnstartable('b', env('b', 'pending', 2)), 'power cycle')
  })
  test('without a trial the other slot is tried', () => {
    assert.deepEqual(afterUnstartable('b', b), { boot: 'a' })
    assert.deepEqual(afterUnstartable('a', env('a', 'failed', 0)), { boot: 'b' })
  })
})

describe('the bootloader env', () => {
  let dir: string
  let path: string
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'boot-env-'))
    path = join(dir, 'boot.env')
    await writeFile(join(dir, 'fw_env.config'), `${path} 0x0 0x200\n`)
  })
  after(() => rm(dir, { recursive: true }))

  test('is byte for byte what mkenvimage makes', async () => {
    const text = join(dir, 'text')
    await writeFile(text, 'primary=b\ntrial=pending\ntries=3\n')
    await runProgram(['mkenvimage', '-s', '512', '-p', '0', '-o', join(dir, 'made'), text])
    assert.deepEqual(encodeBootEnv(env('b', 'pending', 3)), await readFile(join(dir, 'made')))
  })

  test('is read by fw_printenv, and what fw_setenv writes is read here', async () => {
    await writeBootEnv(path, a)
    const printed = await runProgram(['fw_printenv', '-c', join(dir, 'fw_env.config')])
    assert.deepEqual(printed.toString().trim().split('\n').sort(), ['primary=a', 'trial=none', 'tries=0'])
    await writeFile(join(dir, 'script'), 'primary=b\ntrial=pending\ntries=3\nustate=1\n')
    await runProgram(['fw_setenv', '-c', join(dir, 'fw_env.config'), '-s', join(dir, 'script')])
    assert.deepEqual(await readBootEnv(path), env('b', 'pending', 3))
  })

  test('is overwritten in place, so that the sector is the same', async () => {
    const { ino } = await stat(path)
    await writeBootEnv(path, b)
    assert.deepEqual([(await stat(path)).ino, (await stat(path)).size], [ino, 512])
  })

  test('with any bit wrong is not used', () => {
    const sector = encodeBootEnv(env('b', 'pending', 3))
    for (let bit = 0; bit < 512 * 8; bit += 1) {
      const wrong = Buffer.from(sector)
      wrong[bit >> 3]! ^= 1 << (bit & 7)
      assert.equal(decodeBootEnv(wrong), undefined, `bit ${bit}`)
    }
  })

  test('that is too short, or names no slot, is not used', () => {
    assert.equal(decodeBootEnv(encodeBootEnv(a).subarray(0, 511)), undefined)
    assert.equal(decodeBootEnv(encodeBootEnv(env('c' as 'a', 'none', 0))), undefined)
  })

  test('with a count that is none leaves no tries', () => {
    assert.deepEqual(decodeBootEnv(encodeBootEnv(env('b', 'pending', Number.NaN))), env('b', 'pending', 0))
  })
})
