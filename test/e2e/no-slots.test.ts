import assert from 'node:assert/strict'
import { join } from 'node:path'
import { execa } from 'execa'
import { repositoryRoot } from '../../image/builder/repository.ts'
import type { Finding } from '../../src/cli/doctor/finding.ts'
import { contentPath } from '../bench/authoring/files.ts'
import { startRig } from './rig.ts'

const rig = await startRig()
const two = await rig.system('2.0.0')

/** As on an ordinary Debian: neither slots nor a boot state. */
const configure = (config: Record<string, unknown>): void => {
  const {
    slots: _,
    bootState: __,
    kernelCommandLine: ___,
    versionFile: ____,
    ...piAdu
  } = config.piAdu as object & Record<string, unknown>
  config.piAdu = { ...piAdu, bootState: undefined }
}

rig.test(
  'a device without slots connects, and refuses an image before it fetches anything',
  { configure },
  async pi => {
    await pi.ready()
    const id = pi.deploy(two)
    const report = await pi.settled(id)
    assert.equal(report.lastInstallResult.resultCode, 0)
    assert.equal(report.lastInstallResult.extendedResultCodes, '30000003')
    assert.match(report.lastInstallResult.resultDetails ?? '', /no A\/B slots and takes no images/)
    assert.equal(rig.bench.content.stats[contentPath(two.files[0]!)], undefined)

    const program = join(repositoryRoot(), 'dist/src/main.js')
    const status = await execa('node', [program, 'status', '--config', pi.folder.config])
    assert.match(status.stdout, /^slots +none: this device takes packages and scripts, no images$/m)
    const { stdout } = await execa('node', [program, 'doctor', '--config', pi.folder.config, '--json'], {
      reject: false,
    })
    const findings = JSON.parse(stdout) as Finding[]
    assert.deepEqual(
      findings.filter(({ is }) => is === 'fail'),
      [],
    )
    assert.match(findings.find(({ name }) => name === 'slots')?.says ?? '', /^none: /)
  },
)
