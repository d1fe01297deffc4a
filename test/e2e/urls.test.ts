import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { DeployOptions } from '../bench/bench.ts'
import { startRig } from './rig.ts'

/** URLs in a deployment are signed by nobody: none of them ends the agent, or leads where it must not. */

const rig = await startRig()
const two = await rig.system('2.0.0')
const [file] = two.files
const { content } = rig.bench
const ours = (url: string): DeployOptions => ({ fileUrls: { [file!.fileId]: url } })
const packageAt = (rootKeyPackageUrl: string): DeployOptions => ({ rootKeyPackageUrl })

const CASES: readonly (readonly [name: string, deploy: DeployOptions, code: string, details: RegExp])[] = [
  [
    'a package whose user name does not decode',
    packageAt('http://%zz@localhost/x'),
    '80700002',
    /rootKeyPackageUrl has/,
  ],
  ['a package at a URL with a tab', packageAt('https://local\thost/x'), '80700002', /control character/],
  ['a bundle whose password does not decode', ours('https://u:50%off@localhost/x'), '40000007', /write %25/],
  ['a bundle at a URL with a line end', ours('https://localhost/x\n'), '40000007', /control character/],
  [
    'a bundle inside the network',
    ours('http://192.168.1.1/x'),
    '32100050',
    /add "192\.168\.1\.1" to piAdu\.content\.allowed/,
  ],
  ['a bundle in the metadata service', ours('http://169.254.169.254/x'), '32100050', /private network/],
  ['a package inside the network', packageAt('http://10.0.0.1:22/'), 'A0100050', /private network/],
  [
    'a package that redirects to what does not decode',
    packageAt(content.url('package')),
    'A0100005',
    /redirects to an address that has/,
  ],
]

rig.test(
  'each such URL is refused with its code by the same process; then a good deployment succeeds',
  {},
  async pi => {
    await pi.ready()
    const pid = await pi.events.pid()
    await writeFile(join(rig.bench.contentDir, 'package'), 'x')
    content.faults.package = { redirect: 'https://%zz@localhost/canary' }
    for (const [name, deploy, code, details] of CASES) {
      const { lastInstallResult } = await pi.settled(pi.deploy(two, deploy))
      assert.equal(lastInstallResult.resultCode, 0, name)
      assert.equal(lastInstallResult.extendedResultCodes, code, `${name}: ${lastInstallResult.resultDetails}`)
      assert.match(lastInstallResult.resultDetails ?? '', details)
      assert.doesNotMatch(lastInstallResult.resultDetails ?? '', /zz|50%off|canary/)
      assert.equal(await pi.events.pid(), pid, name)
    }
    await pi.expectResult(pi.deploy(two), { resultCode: 700, version: '2.0.0' })
  },
)

rig.test(
  'a server in a private network that the configuration does not name: refused, with the setting; named, taken',
  { piAdu: { content: { allowedHosts: ['*'] } } },
  async pi => {
    await pi.expectResult(pi.deploy(two), {
      ...{ resultCode: 0, code: '32100050', version: '1.0.0' },
      details:
        /localhost:\d+ is at an address in a private network; to allow it, add "localhost" to piAdu\.content\.allowedHosts/,
    })
    await pi.powerCut()
    await pi.configure(config => {
      Object.assign((config.piAdu as { content: object }).content, { allowedHosts: ['*', 'localhost'] })
    })
    await pi.switchOn()
    await pi.expectResult(pi.deploy(two), { resultCode: 700, version: '2.0.0' })
  },
)
