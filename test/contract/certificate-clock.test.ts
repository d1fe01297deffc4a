import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after } from 'node:test'
import { expiry, untilValid } from '../../src/adapters/swupdate/certificate-clock.ts'
import { Swupdate } from '../../src/adapters/swupdate/swupdate.ts'
import type { Bundle } from '../../src/ports/installer.ts'
import { openBundleSigner } from '../bench/workbench/bundle-key.ts'
import { HARDWARE } from '../bench/workbench/root-tree.ts'
import { buildBundle } from '../bench/workbench/swu.ts'

/** A file of certificates, some of which are not valid yet or no more. */

process.env.PATH += ':/usr/sbin:/sbin'
const dir = await mkdtemp(join(tmpdir(), 'certificates-'))
after(() => rm(dir, { recursive: true }))

const year = new Date().getFullYear()
const beginning = (from: number): string => `${from}0101000000Z`
const now = await openBundleSigner(dir, 'now')
const later = await openBundleSigner(dir, 'later', beginning(year + 1))
const stranger = await openBundleSigner(dir, 'stranger')
const evenLater = await openBundleSigner(dir, 'even-later', beginning(year + 2))

const lines: string[] = []
const note = (event: string, fields?: object): void => void lines.push(`${event} ${JSON.stringify(fields)}`)
const log = { debug: note, info: note, warn: note, error: note }

async function fileOf(...signers: { readonly certificate: string }[]): Promise<string> {
  const file = join(dir, `${signers.length}.pem`)
  await writeFile(file, (await Promise.all(signers.map(each => readFile(each.certificate, 'utf8')))).join(''))
  return file
}

/** Whether it is waited for. */
async function waits(file: string): Promise<boolean> {
  lines.length = 0
  const stop = new AbortController()
  const waiting = untilValid(file, log, stop.signal, () => stop.abort()).then(
    () => false,
    () => true,
  )
  return waiting
}

test('one that is valid is enough, whatever else is in the file, and in which order', async () => {
  for (const file of [
    await fileOf(now),
    await fileOf(now, later),
    await fileOf(later, now),
    await fileOf(later, now, evenLater),
  ]) {
    assert.equal(await waits(file), false)
    assert.deepEqual(lines, [])
  }
})

test('where none is valid yet, the first that will be is waited for', async () => {
  assert.equal(await waits(await fileOf(evenLater, later)), true)
  assert.match(
    lines[0] ?? '',
    new RegExp(`^clock.waiting .*is not valid before ${year + 1}-01-01T00:00:00, and this device`),
  )
})

test('a file without a certificate, and one that is not there, hold nothing up', async () => {
  await writeFile(join(dir, 'none.pem'), 'nothing')
  for (const file of [join(dir, 'none.pem'), join(dir, 'missing.pem')]) {
    assert.equal(await waits(file), false)
    assert.equal(await expiry(file), '')
  }
})

for (const [what, signers] of [
  ['before', [later, now]],
  ['behind', [now, later]],
] as const) {
  test(`SWUpdate installs with a certificate of next year ${what} the one that is valid`, async () => {
    const slot = join(dir, 'slot')
    await writeFile(slot, '')
    await truncate(slot, 64 << 20)
    const options = {
      ...{ hardware: HARDWARE, selection: { a: 'stable,a', b: 'stable,b' }, device: { a: join(dir, 'a'), b: slot } },
      ...{
        certificate: await fileOf(...signers),
        compare: true,
        keyFile: undefined,
        writable: [],
        stall: 60_000,
        allow: [],
      },
      confine: (argv: readonly [string, ...string[]]) => argv,
    }
    const install = async (signer: { certificate: string; key: string }): Promise<void> => {
      await buildBundle(join(dir, 'good.swu'), { tree: { version: '2.0.0' } }, signer)
      const bytes = await readFile(join(dir, 'good.swu'))
      async function* bundle(): AsyncGenerator<Buffer> {
        yield bytes
      }
      await new Swupdate(options, log).install(bundle() as unknown as Bundle, 'b', AbortSignal.timeout(60_000))
    }
    await install(now)
    // The reason names the certificate: it may be that of the bundle.
    await assert.rejects(install(stranger), {
      code: 'SWUPDATE_FAILED',
      message: new RegExp(`a certificate in \\S+ is not valid before ${year + 1}-01-01`),
    })
  })
}
