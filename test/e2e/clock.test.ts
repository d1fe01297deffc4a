import assert from 'node:assert/strict'
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after } from 'node:test'
import { openBundleSigner } from '../bench/workbench/bundle-key.ts'
import type { Pi } from './pi.ts'
import { startRig } from './rig.ts'

const rig = await startRig()
const two = await rig.system('2.0.0')

/** Days from now to the middle of a year. */
const daysTo = (year: number): number => Math.round((Date.UTC(year, 6) - Date.now()) / 86_400_000)

/** libfaketime, as Debian's package `faketime` brings it. */
const LIBRARY = readdirSync('/usr/lib')
  .map(folder => `/usr/lib/${folder}/faketime/libfaketimeMT.so.1`)
  .find(existsSync)

/** A killed process leaves its shared memory of libfaketime behind, and a later one with its number would not start. */
const removeLeftovers = (): void => {
  for (const name of readdirSync('/dev/shm')) {
    const [, process] = /^(?:sem\.)?faketime_(?:sem|shm)_(\d+)$/.exec(name) ?? []
    if (process && !existsSync(`/proc/${process}`)) rmSync(join('/dev/shm', name), { force: true })
  }
}
removeLeftovers()
after(removeLeftovers)

/** libfaketime looks for its shared memory in /dev/shm, where SWUpdate has no business. */
const piAdu = { swupdate: { confine: 'off' } }

/** The board's clock in days from now; `set` works on the running board, as time synchronisation would. */
const clock = {
  file: (pi: Pi) => join(pi.folder.dir, 'clock-offset'),
  set: (pi: Pi, days: number) => writeFile(clock.file(pi), days < 0 ? `${days}d` : `+${days}d`),
  async start(pi: Pi, days: number): Promise<void> {
    assert.ok(LIBRARY, 'libfaketime is missing: apt-get install faketime')
    await clock.set(pi, days)
    const environment = {
      LD_PRELOAD: LIBRARY,
      FAKETIME_TIMESTAMP_FILE: clock.file(pi),
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      // What a file says about its age is what the agent knows better than its clock.
      NO_FAKE_STAT: '1',
    }
    await pi.switchOn({ environment })
  },
}

for (const year of [1970, 2099]) {
  rig.test(
    `a clock in ${year}: says so, waits, and installs once the clock was set`,
    { on: false, piAdu },
    async pi => {
      const id = pi.deploy(two)
      await clock.start(pi, daysTo(year))
      const [lost] = await pi.events.waitFor('hub.lost')
      const said = String(lost?.why)
      assert.match(said, year === 1970 ? /not yet valid/ : /expired/)
      assert.match(said, new RegExp(`clock says ${year}-.* waiting for time synchronisation`))
      assert.deepEqual(pi.reports, [], 'nothing was said about a deployment that nobody could read')
      await clock.set(pi, 0)
      await pi.expectResult(id, { resultCode: 700, version: '2.0.0' })
    },
  )
}

/** Valid from the beginning of this year only. */
const signer = await openBundleSigner(
  join(rig.bench.contentDir, '../keys'),
  'new',
  `${new Date().getFullYear()}0101000000Z`,
)

rig.test(
  'a clock behind the certificate of bundles: connects all the same, and SWUpdate waits for the clock',
  { on: false, bundleCertificate: signer.certificate, piAdu },
  async pi => {
    const path = await rig.bench.buildBundle({ tree: { version: '3.0.0' } }, 'system-3.0.0.swu', signer)
    const id = pi.deploy(await rig.bench.importBundle(path, '3.0.0'))
    await clock.start(pi, -730)
    // The hub would refuse a token that ended two years ago: it was made out for the time that it is at the least.
    await pi.connected()
    const [behind] = await pi.log.lines('clock.behind')
    assert.match(String(behind?.why), /waiting for time synchronisation/)
    const [waiting] = await pi.log.waitFor('clock.waiting')
    assert.match(String(waiting?.why), /is not valid before .* waiting for time synchronisation/)
    assert.deepEqual(
      pi.reports.map(({ state }) => state),
      [6],
    )
    await clock.set(pi, 0)
    await pi.expectResult(id, { resultCode: 700, version: '3.0.0' })
  },
)
