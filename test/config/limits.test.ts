import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { optionsOf, timeFloorOf } from '../../src/compose.ts'
import { readConfig } from '../../src/config/config.ts'
import { least } from './examples.ts'

const dir = await mkdtemp(join(tmpdir(), 'limits-'))
after(() => rm(dir, { recursive: true }))
const log = { debug() {}, info() {}, warn() {}, error() {} }

for (const swupdate of [{}, { stallSeconds: 7200 }]) {
  test(`the watchdog gives the installer time to end a SWUpdate that hangs: ${JSON.stringify(swupdate)}`, async () => {
    const file = join(dir, 'du-config.json')
    await writeFile(file, JSON.stringify({ ...least(), piAdu: { swupdate } }), { mode: 0o600 })
    const config = await readConfig(file, {})
    const { content, swupdate: settings } = config.piAdu
    assert.equal(settings.stallSeconds, swupdate.stallSeconds ?? 900)
    const { allowed } = (await optionsOf(config, log, timeFloorOf(config, log))).pulse
    // The network may stall first; and ending the program takes a while.
    const needed = (content.stallSeconds + settings.stallSeconds + 60) * 1000
    assert.ok((allowed['installer.install'] ?? 0) > needed, `${allowed['installer.install']} ms`)
  })
}
