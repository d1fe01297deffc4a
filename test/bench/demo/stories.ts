import { EXTENDED_RESULT_CODE, ercText, swupdateExit } from '../../../src/domain/result-codes.ts'
import { GUEST_VIEW } from '../hub/certs.ts'
import { olderMethods } from '../workbench/device.ts'
import { FAILING_CHECK } from '../workbench/root-tree.ts'
import type { PhaseKey, Scene } from './scene.ts'
import { EXAMPLE_2021, type Stage } from './stage.ts'
import {
  type Check,
  deviceIs,
  deviceStays,
  fact,
  twinSaysApplied,
  twinSaysCancelled,
  twinSaysFailed,
} from './verdict.ts'

/** What a demo shows: acts it out and says what must be true in the end. */
export interface Story {
  readonly title: string
  readonly imageMiB: number
  readonly downloadSeconds: number
  readonly healthSeconds: number
  /** Further settings of the device, by section of `piAdu`. */
  readonly piAdu?: Readonly<Record<string, object | string>>
  /** The device takes lists of steps: not in QEMU, where the image allows no scripts. */
  readonly steps?: true
  readonly play: (stage: Stage, scene: Scene) => Promise<Check[]>
}

const WAY: readonly PhaseKey[] = ['order', 'install', 'restart', 'trial', 'report']
const HALF = 0.45

const update: Story = {
  title: 'An update, from the hub to the other slot',
  imageMiB: 56,
  downloadSeconds: 9,
  healthSeconds: 20,
  async play(stage, scene) {
    scene.expect(WAY)
    const next = await stage.author({ version: '2.0.0' })
    await ready(stage, scene)
    const report = await stage.ended(stage.deploy(next))
    return [...(await deviceIs(stage, { version: '2.0.0', slot: 'b' })), ...twinSaysApplied(report, '2.0.0')]
  },
}

const badImage: Story = {
  title: 'A new system that never becomes healthy',
  imageMiB: 32,
  downloadSeconds: 5,
  healthSeconds: 5,
  async play(stage, scene) {
    scene.expect(['order', 'install', 'restart', 'trial', 'fallBack', 'report'])
    const bad = await stage.author({ version: '2.0.0', healthChecks: { '50-application': FAILING_CHECK } })
    await ready(stage, scene)
    const report = await stage.ended(stage.deploy(bad))
    const health = ercText(EXTENDED_RESULT_CODE.HEALTH)
    return [
      ...(await deviceIs(stage, { version: '1.0.0', slot: 'a', trial: 'failed' })),
      ...twinSaysFailed(report, health, /50-application.*this check never passes/, 'the health check and its words'),
    ]
  },
}

const tampered: Story = {
  title: 'Three forgeries',
  imageMiB: 16,
  downloadSeconds: 2.5,
  healthSeconds: 20,
  async play(stage, scene) {
    const good = await stage.author({ version: '2.0.0' })
    const foreign = await stage.author({ version: '3.0.0' }, await stage.stranger())
    await ready(stage, scene)
    const checks: Check[] = []
    const staysOld = () => deviceStays(stage, { version: '1.0.0', slot: 'a' })

    scene.open('1 of 3: the manifest is changed after it was signed', ['order', 'report'])
    const changed = stage.deploy(good, { tamper: text => text.replace('"2.0.0"', '"2.0.1"') })
    const first = await stage.ended(changed)
    const hash = ercText(EXTENDED_RESULT_CODE.MANIFEST_HASH)
    checks.push(
      ...twinSaysFailed(first, hash, /updateManifest is not/, 'the manifest is not what was signed'),
      await staysOld(),
    )
    await stage.pause(1500)

    scene.open('2 of 3: the bundle is changed on the content server', ['order', 'install', 'report'])
    const order = stage.deploy(good)
    const [file] = good.files
    const { bytesPerSecond } = stage.bench.content.faults['*']!
    stage.bench.content.faults[`${file!.fileId}/${file!.fileName}`] = {
      bytesPerSecond: bytesPerSecond!,
      // In the padding after the last file: SWUpdate itself would not mind.
      flipByteAt: file!.sizeInBytes - 100,
    }
    const second = await stage.ended(order)
    const wrong = ercText(EXTENDED_RESULT_CODE.FILE_HASH)
    checks.push(...twinSaysFailed(second, wrong, /SHA-256/, 'the hash of the file'), await staysOld())
    await stage.pause(1500)

    scene.open('3 of 3: the bundle is signed by a stranger', ['order', 'install', 'report'])
    const third = await stage.ended(stage.deploy(foreign))
    const signature = ercText(swupdateExit(1))
    checks.push(...twinSaysFailed(third, signature, /signature/i, "SWUpdate's signature check"), await staysOld())
    return checks
  },
}

const powerCut: Story = {
  title: 'The plug is pulled twice',
  imageMiB: 40,
  downloadSeconds: 8,
  healthSeconds: 20,
  async play(stage, scene) {
    scene.expect(['order', 'install', 'cut', 'install', 'restart', 'trial', 'cut', 'trial', 'report'])
    const next = await stage.author({ version: '2.0.0' })
    await ready(stage, scene)
    const order = stage.deploy(next)
    await stage.until(() => stage.fetched > HALF, 'half of the download')
    await stage.powerCut()
    const inInstall = stage.count('install.end') === 0
    await stage.powerOn()
    await stage.until(() => scene.phase?.key === 'trial' && stage.bench.hub.isConnected('pi1'), 'the trial')
    await stage.powerCut()
    const inTrial = stage.count('committed') === 0
    await stage.powerOn()
    const report = await stage.ended(order)
    return [
      fact('the first cut was in mid-install', inInstall, 'the install was over already'),
      fact('the second cut was before the commit', inTrial, 'it had been committed already'),
      ...(await deviceIs(stage, { version: '2.0.0', slot: 'b' })),
      ...twinSaysApplied(report, '2.0.0'),
    ]
  },
}

const cancel: Story = {
  title: 'An operator who changes their mind',
  imageMiB: 40,
  downloadSeconds: 7,
  healthSeconds: 20,
  async play(stage, scene) {
    const next = await stage.author({ version: '2.0.0' })
    await ready(stage, scene)
    scene.open('cancelled in mid-download', ['order', 'install', 'report'])
    const order = stage.deploy(next)
    await stage.until(() => stage.fetched > HALF, 'half of the download')
    scene.tell('hub', 'the operator cancels')
    stage.bench.cancel('pi1', order)
    const first = await stage.ended(order)
    const checks = [...twinSaysCancelled(first), await deviceStays(stage, { version: '1.0.0', slot: 'a' })]
    await stage.pause(2000)

    scene.open('and deployed again', WAY)
    const second = await stage.ended(stage.deploy(next))
    return [...checks, ...(await deviceIs(stage, { version: '2.0.0', slot: 'b' })), ...twinSaysApplied(second, '2.0.0')]
  },
}

const steps: Story = {
  title: 'A list of steps: a script, a system, a script',
  imageMiB: 40,
  downloadSeconds: 7,
  healthSeconds: 20,
  steps: true,
  async play(stage, scene) {
    scene.expect(['order', 'before', 'install', 'restart', 'trial', 'after', 'report'])
    const next = await stage.authorList('2.0.0', 'sleep 2', 'sleep 2')
    await ready(stage, scene)
    const report = await stage.ended(stage.deploy(next))
    const results = Object.values(report.lastInstallResult?.stepResults ?? {}).map(({ resultCode }) => resultCode)
    return [
      ...(await deviceIs(stage, { version: '2.0.0', slot: 'b' })),
      ...twinSaysApplied(report, '2.0.0'),
      fact('the twin says it of each of the three steps', results.join() === '700,700,700', results.join(', ')),
    ]
  },
}

const STAGES = ['waiting', 'downloading', 'downloadComplete', 'applying', 'rebooting', 'applyComplete']

const firmwareUpdate: Story = {
  title: 'The older pattern: a direct method, and a twin that is polled',
  imageMiB: 32,
  downloadSeconds: 6,
  healthSeconds: 20,
  piAdu: olderMethods('localhost', GUEST_VIEW),
  async play(stage, scene) {
    scene.expect(WAY)
    scene.rename('order', 'call of firmwareUpdate: check the payload')
    const next = await stage.author({ version: '2.0.0' })
    await ready(stage, scene)
    const stages = stage.firmwareStages()
    const answer = await stage.callFirmwareUpdate(next)
    const seen = await stages
    return [
      fact('the call is answered with "FirmwareUpdate started"', answer === 'FirmwareUpdate started', String(answer)),
      ...(await deviceIs(stage, { version: '2.0.0', slot: 'b' })),
      fact(`the twin showed ${STAGES.join(', ')}`, seen.join() === STAGES.join(), seen.join(', ')),
    ]
  },
}

const contract: Story = {
  title: 'The contract of 2021: each phase is ordered by itself',
  imageMiB: 32,
  downloadSeconds: 6,
  healthSeconds: 20,
  piAdu: { contract: '2021' },
  async play(stage, scene) {
    scene.expect(WAY)
    scene.rename('order', 'order 0: check signature and manifest')
    const next = await stage.author2021()
    await ready(stage, scene)
    const { end, states } = await stage.orchestrate(next)
    const { criteria, version } = EXAMPLE_2021
    return [
      ...(await deviceIs(stage, { version: criteria, slot: 'b' })),
      fact(
        `the twin showed the states 0, 2, 4, 0, and then installed ${version}`,
        states.join() === '0,2,4,0' && end === 'applied',
        `${states}, ${end}`,
      ),
    ]
  },
}

export const STORIES = {
  update,
  'bad-image': badImage,
  tampered,
  'power-cut': powerCut,
  cancel,
  steps,
  'firmware-update': firmwareUpdate,
  contract,
} as const
export type StoryName = keyof typeof STORIES

/** The curtain: the device boots, and a person has a moment to look at it. */
async function ready(stage: Stage, scene: Scene): Promise<void> {
  scene.enter('start')
  await stage.powerOn()
  scene.leave('done')
  await stage.pause(700)
}
