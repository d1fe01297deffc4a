import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { chmod, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { execa } from 'execa'
import { repositoryRoot } from '../../image/builder/repository.ts'
import { EXTENDED_RESULT_CODE, ercText } from '../../src/domain/result-codes.ts'
import type { StepEntry } from '../../src/operator/import-manifest/wanted-step.ts'
import { importWanted, written } from '../bench/authoring/wanted.ts'
import { type Pi, startRig } from './rig.ts'
import { goesOn, installs, notes, scriptStep, waiting, waitsIn } from './step-script.ts'

const rig = await startRig()
const { bench } = rig
const image = `image:${await bench.buildBundle({ tree: { version: '2.0.0' } })}`
const panicking = `image:${await bench.buildBundle({ tree: { version: '3.0.0', init: 'panics' } })}`
const DEVICE = { steps: {} }
const components = join(bench.contentDir, '..', 'components.json')
await writeFile(
  components,
  JSON.stringify({
    components: ['left', 'right', 'lamp'].map(id => ({ id, group: id === 'lamp' ? 'lamps' : 'motors' })),
  }),
)
const WITH_MOTORS = { components: { file: components }, scripts: { run: 'on', asRoot: ['contoso/flasher:1'] } }
const UNKNOWN = ercText(EXTENDED_RESULT_CODE.STEP_UNKNOWN)

async function deploy(pi: Pi, version: string, ...steps: readonly StepEntry[]): Promise<string> {
  return pi.deploy((await importWanted(bench, written(...steps), version)).update)
}

/** `resultCode/code` of each step. */
const stepsOf = ({ lastInstallResult: { stepResults } }: Awaited<ReturnType<Pi['settled']>>): readonly string[] =>
  Object.entries(stepResults ?? {}).map(([name, { resultCode, extendedResultCodes }], index) => {
    assert.equal(name, `step_${index}`)
    return `${resultCode}/${extendedResultCodes}`
  })

const status = async ({ folder }: Pi): Promise<string> =>
  (await execa('node', [join(repositoryRoot(), 'dist/src/main.js'), 'status', '--config', folder.config])).stdout

rig.test(
  'script, image, script: in order, the last one in the new system, with all files there at the start',
  DEVICE,
  async pi => {
    const downloads = join(pi.folder.data, 'downloads', 'pi-adu')
    const before = await scriptStep(pi, 'before', {
      install: `find '${downloads}' -name '*.sh' | sed 's|.*/||' | sort > '${pi.folder.dir}/there'`,
    })
    const after = await scriptStep(pi, 'after', { install: waiting(pi, 'after') })
    const id = await deploy(pi, '2.0.0', before, { step: image }, after)
    await inside(pi, id, 'after')
    assert.match(await status(pi), /step/)
    await writeFile(goesOn(pi, 'after'), '')
    const report = await pi.expectResult(id, { resultCode: 700, version: '2.0.0' })
    assert.deepEqual(stepsOf(report), ['700/00000000', '700/00000000', '700/00000000'])
    assert.deepEqual(await notes(pi), [
      'before install 1.0.0',
      'before apply 1.0.0',
      'after install 2.0.0',
      'after apply 2.0.0',
    ])
    assert.equal(await readFile(join(pi.folder.dir, 'there'), 'utf8'), 'after.sh\nbefore.sh\n')
  },
)

rig.test('a failed step ends the list, and what was done stays: the next deployment skips it', DEVICE, async pi => {
  const first = await scriptStep(pi, 'first')
  const broken = await scriptStep(pi, 'broken', { install: 'say 0 811597825 "it is broken"; exit 0' })
  const never = await scriptStep(pi, 'never')
  const failed = await pi.expectResult(await deploy(pi, '1.1', first, broken, never), {
    ...{ resultCode: 0, code: '30600001', details: /it is broken/, version: '1.0.0' },
  })
  assert.deepEqual(stepsOf(failed), ['700/00000000', '0/30600001', '0/00000000'])
  const mended = await scriptStep(pi, 'mended')
  const report = await pi.expectResult(await deploy(pi, '1.2', first, mended), { resultCode: 700, version: '1.0.0' })
  assert.deepEqual(stepsOf(report), ['603/00000000', '700/00000000'])
  assert.deepEqual(await installs(pi), ['first', 'broken', 'mended'])
})

rig.test('an agent that is killed inside a step finds its end; the step has run once', DEVICE, async pi => {
  const slow = await scriptStep(pi, 'slow', { install: waiting(pi, 'slow') })
  const id = await deploy(pi, '1.1', slow, await scriptStep(pi, 'next'))
  await inside(pi, id, 'slow')
  process.kill(await pi.events.pid(), 'SIGKILL')
  await pi.events.waitFor('hub.connected', 2)
  await writeFile(goesOn(pi, 'slow'), '')
  const report = await pi.expectResult(id, { resultCode: 700, version: '1.0.0' })
  assert.deepEqual(stepsOf(report), ['700/00000000', '700/00000000'])
  assert.deepEqual(await installs(pi), ['slow', 'next'])
})

for (const [name, disturb] of [
  ['a step service that is killed', killService],
  ['a power cut', cutPower],
] as const) {
  rig.test(
    `${name} inside a step that cannot say whether it is installed: the list ends, outcome unknown`,
    DEVICE,
    async pi => {
      const slow = await scriptStep(pi, 'slow', { install: waiting(pi, 'slow'), isUnsure: true })
      const id = await deploy(pi, '1.1', slow, await scriptStep(pi, 'never'))
      await inside(pi, id, 'slow')
      await disturb(pi)
      await writeFile(goesOn(pi, 'slow'), '')
      const report = await pi.expectResult(id, {
        ...{ resultCode: 0, code: UNKNOWN, details: /outcome unknown/, version: '1.0.0' },
      })
      assert.deepEqual(stepsOf(report), [`0/${UNKNOWN}`, '0/00000000'])
      assert.deepEqual(await installs(pi), ['slow'])
    },
  )
}

rig.test('a power cut inside a step that then says it is not installed: it runs again', DEVICE, async pi => {
  const slow = await scriptStep(pi, 'slow', { install: waiting(pi, 'slow') })
  const id = await deploy(pi, '1.1', slow, await scriptStep(pi, 'next'))
  await inside(pi, id, 'slow')
  await cutPower(pi)
  await writeFile(goesOn(pi, 'slow'), '')
  const report = await pi.expectResult(id, { resultCode: 700, version: '1.0.0' })
  assert.deepEqual(stepsOf(report), ['700/00000000', '700/00000000'])
  assert.deepEqual(await installs(pi), ['slow', 'slow', 'next'])
})

rig.test('a cancel inside a step: the step comes to its end, and the list ends behind it', DEVICE, async pi => {
  const slow = await scriptStep(pi, 'slow', { install: waiting(pi, 'slow') })
  const id = await deploy(pi, '1.1', slow, await scriptStep(pi, 'never'))
  await inside(pi, id, 'slow')
  bench.cancel(pi.id, id)
  await writeFile(goesOn(pi, 'slow'), '')
  const report = await pi.expectResult(id, { resultCode: -1, version: '1.0.0' })
  assert.deepEqual(stepsOf(report), ['700/00000000', '-1/00000000'])
  assert.deepEqual(await installs(pi), ['slow'])
})

rig.test('a newer deployment inside a step: that one ends, and the newer list runs', DEVICE, async pi => {
  const slow = await scriptStep(pi, 'slow', { install: waiting(pi, 'slow') })
  const id = await deploy(pi, '1.1', slow, await scriptStep(pi, 'never'))
  await inside(pi, id, 'slow')
  const newer = await deploy(pi, '1.2', await scriptStep(pi, 'newer'))
  await writeFile(goesOn(pi, 'slow'), '')
  const report = await pi.expectResult(newer, {
    ...{ resultCode: 700, version: '1.0.0' },
  })
  assert.deepEqual(stepsOf(report), ['700/00000000'])
  assert.deepEqual(await installs(pi), ['slow', 'newer'])
})

rig.test(
  'a reboot that waits, a reboot at once, and a new start of the agent: each list goes on at its step',
  DEVICE,
  async pi => {
    const success = { resultCode: 700, version: '1.0.0' }
    const list = async (name: string, apply: number) => [
      await scriptStep(pi, name, { apply }),
      await scriptStep(pi, `${name}-next`, { install: `cat '${pi.folder.commandLine}' >> '${pi.folder.dir}/boots'` }),
    ]
    const boots = async () => (await readFile(`${pi.folder.dir}/boots`, 'utf8')).match(/(?<=adu\.boot=)\d+/g)
    const later = await pi.expectResult(await deploy(pi, '1.1', ...(await list('later', 706))), success)
    assert.deepEqual(stepsOf(later), ['706/00000000', '700/00000000'])
    assert.equal(await pi.power.bootCount(), 2)
    const now = await pi.expectResult(await deploy(pi, '1.2', ...(await list('now', 705))), success)
    assert.deepEqual(stepsOf(now), ['705/00000000', '700/00000000'])
    assert.equal(await pi.power.bootCount(), 3)
    assert.deepEqual(await boots(), ['1', '3'], 'the one ran before the reboot, the other behind it')
    const before = await pi.events.pid()
    await pi.expectResult(await deploy(pi, '1.3', ...(await list('agent', 707))), success)
    assert.notEqual(await pi.events.pid(), before)
    assert.equal(await pi.power.bootCount(), 3)
    const names = ['later', 'later-next', 'now', 'now-next', 'agent', 'agent-next']
    assert.deepEqual(await installs(pi), names)
  },
)

rig.test('an image that falls back ends the list', { ...DEVICE, tries: 1 }, async pi => {
  const before = await scriptStep(pi, 'before')
  const id = await deploy(pi, '3.0.0', before, { step: panicking }, await scriptStep(pi, 'never'))
  const code = ercText(EXTENDED_RESULT_CODE.FELL_BACK)
  const report = await pi.expectResult(id, { resultCode: 0, code, version: '1.0.0' })
  assert.deepEqual(stepsOf(report), ['700/00000000', `0/${code}`, '0/00000000'])
  assert.deepEqual(await installs(pi), ['before'])
})

/** A handler of the owner's: it notes for which component it is called. */
const flasher = (file: string): string => `#!/bin/sh
read -r request
of() { printf '%s' "$request" | sed -n "s/.*\\"$1\\":\\"\\([A-Za-z]*\\)\\".*/\\1/p"; }
id=$(printf '%s' "$request" | sed -n 's/.*"component":{"id":"\\([a-z]*\\)".*/\\1/p')
case $(of verb) in
  isInstalled) if grep -qx "$id" '${file}'; then code=900; else code=901; fi ;;
  install) echo "$id" >> '${file}'; code=600 ;;
  *) exit 0 ;;
esac
echo "{\\"result\\":{\\"resultCode\\":$code}}"
`

rig.test(
  'an update of components by a handler of the owner; a step for components that are not there is skipped',
  { steps: WITH_MOTORS },
  async pi => {
    const flashed = join(pi.folder.dir, 'flashed')
    const handler = join(pi.folder.dir, 'steps/handlers.d/contoso_flasher_1')
    await writeFile(flashed, '')
    await writeFile(handler, flasher(flashed), { mode: 0o755 })
    await chmod(handler, 0o755)
    const firmware = { handler: 'contoso/flasher:1', handlerProperties: { installedCriteria: '1.4' } }
    await writeFile(join(pi.folder.dir, 'fw.bin'), 'firmware')
    const childFor = (group: string) =>
      bench.importSteps('1.4', [{ ...firmware, files: [join(pi.folder.dir, 'fw.bin')] }], {
        name: group,
        compatibility: [{ group }],
      })
    const steps = [await bench.referenceTo(await childFor('motors')), await bench.referenceTo(await childFor('pumps'))]
    const report = await pi.expectResult(pi.deploy(await bench.importSteps('1.1', steps)), {
      resultCode: 700,
      version: '1.0.0',
    })
    assert.deepEqual(stepsOf(report), ['700/00000000', '604/00000000'])
    assert.equal(await readFile(flashed, 'utf8'), 'left\nright\n')
  },
)

/** Returns when the step's script waits. */
async function inside(pi: Pi, id: string, name: string): Promise<void> {
  while (!existsSync(waitsIn(pi, name))) {
    assert.deepEqual(pi.finals(id), [], `${id} has not ended before its step ${name}`)
    await sleep(20)
  }
}

async function killService({ folder }: Pi): Promise<void> {
  const isService = (pid: string): boolean => {
    const words = readCommand(pid).split('\0')
    return words.some(word => word.endsWith('steps/main.js')) && words.includes(folder.stepSocket)
  }
  const pids = readdirSync('/proc').filter(name => /^\d+$/.test(name) && isService(name))
  assert.equal(pids.length, 1)
  process.kill(Number(pids[0]), 'SIGKILL')
}

/** Of a process, which may end meanwhile. */
function readCommand(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8')
  } catch {
    return ''
  }
}

async function cutPower(pi: Pi): Promise<void> {
  await pi.powerCut()
  await pi.switchOn()
}
