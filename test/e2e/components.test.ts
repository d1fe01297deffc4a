import assert from 'node:assert/strict'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { scriptStep } from '../bench/authoring/steps.ts'
import { type Pi, startRig } from './rig.ts'

/** Parts behind a device: the parent refers to an update of motors, which is carried out once for each. */

const rig = await startRig()
const { bench } = rig

const LIST = {
  components: [
    { id: 'left', name: 'left motor', group: 'motors', model: 'M1', properties: { port: 'ttyACM0' } },
    { id: 'cam', group: 'cameras' },
    { id: 'right', name: 'right motor', group: 'motors', model: 'M2', properties: { port: 'ttyACM1' } },
  ],
}

const notesOf = async (pi: Pi): Promise<readonly string[]> =>
  (await readFile(join(pi.folder.dir, 'notes'), 'utf8').catch(() => '')).split('\n').filter(Boolean)

/** A device with these components, whose list a program prints. */
async function withList(pi: Pi, program = `echo '${JSON.stringify(LIST)}'`): Promise<void> {
  const enumerator = join(pi.folder.dir, 'steps', 'components')
  await writeFile(enumerator, `#!/bin/sh\n${program}\n`, { mode: 0o755 })
  const settings = JSON.parse(await readFile(pi.folder.stepSettings, 'utf8'))
  await writeFile(pi.folder.stepSettings, JSON.stringify({ ...settings, components: { enumerator } }))
}

/** The script of `name`: it notes each installation with its arguments, and fails for a component that is called so. */
async function script(pi: Pi, name: string, fails = ''): Promise<string> {
  const dir = join(pi.folder.dir, 'scripts', `${name}-${fails}`)
  await mkdir(dir, { recursive: true })
  // Each update calls its script the same.
  const path = join(dir, 'step.sh')
  await writeFile(
    path,
    `#!/bin/sh
while [ $# -gt 0 ]; do
  case $1 in
    --action-*) action=\${1#--action-} ;;
    --result-file) result=$2; shift ;;
    --work-folder) shift ;;
    --for) id=$2 port=$3; shift 2 ;;
  esac
  shift
done
say() { printf '{"resultCode":%s,"extendedResultCode":0,"resultDetails":"%s"}' "$1" "$2" > "$result"; }
case $action in
  is-installed) say 901 ;;
  download) say 500 ;;
  install) echo "${name} $id $port" >> '${pi.folder.dir}/notes'
    n=0; while [ -e '${pi.folder.dir}'/hold-"$id" ] && [ $n -lt 1200 ]; do sleep 0.05; n=$((n + 1)); done
    if [ "$id" = '${fails || 'nobody'}' ]; then say 0 'no answer'; else say 600; fi ;;
  apply) say 700 ;;
esac
`,
  )
  return path
}

const ARGUMENTS = '--for --component-id-val --component-prop-val port'

/** An update with a script for the device, and one for each component of `group`; `alone`: without the device's. */
async function deploy(pi: Pi, version: string, group: string, { fails = '', alone = false } = {}): Promise<string> {
  const child = await bench.importSteps(
    version,
    [scriptStep(await script(pi, 'part', fails), { installedCriteria: version, arguments: ARGUMENTS })],
    { name: 'motor', compatibility: [{ group }] },
  )
  const own = async (name: string) =>
    scriptStep(await script(pi, name), { installedCriteria: `${name}-${version}`, arguments: '' })
  const steps = [...(alone ? [] : [await own('before')]), await bench.referenceTo(child)]
  return pi.deploy(await bench.importSteps(version, steps))
}

const codes = (report: Awaited<ReturnType<Pi['settled']>>): readonly string[] =>
  Object.entries(report.lastInstallResult.stepResults ?? {}).map(([name, { resultCode }]) => `${name} ${resultCode}`)

rig.test(
  'a part is updated for each component that it describes, in the order of the list',
  { steps: {} },
  async pi => {
    await withList(pi)
    const report = await pi.expectResult(await deploy(pi, '1.1', 'motors'), { resultCode: 700, version: '1.0.0' })
    assert.deepEqual(await notesOf(pi), ['before  ', 'part left ttyACM0', 'part right ttyACM1'])
    assert.deepEqual(codes(report), ['step_0 700', 'step_1 700'])

    const none = await pi.expectResult(await deploy(pi, '1.2', 'pumps'), { resultCode: 700, version: '1.0.0' })
    assert.deepEqual(codes(none), ['step_0 700', 'step_1 604'])
    assert.match(String(none.lastInstallResult.stepResults?.step_1?.resultDetails), /^none of the 3 components/)
    assert.equal((await notesOf(pi)).length, 4)

    const nothing = await deploy(pi, '1.3', 'pumps', { alone: true })
    assert.deepEqual(codes(await pi.expectResult(nothing, { resultCode: 700, version: '1.0.0' })), ['step_0 604'])
  },
)

rig.test('a component that fails ends the list, and the report names it', { steps: {} }, async pi => {
  await withList(pi)
  const id = await deploy(pi, '1.1', 'motors', { fails: 'left' })
  const report = await pi.expectResult(id, { resultCode: 0, code: '30500206', details: /no answer/, version: '1.0.0' })
  assert.deepEqual(await notesOf(pi), ['before  ', 'part left ttyACM0'])
  assert.deepEqual(codes(report), ['step_0 700', 'step_1 0'])
  assert.match(String(report.lastInstallResult.stepResults?.step_1?.resultDetails), /component "left".*no answer/)
})

rig.test(
  'an agent that is killed between components goes on with the next, even if the one that is done is gone',
  { steps: {} },
  async pi => {
    await withList(pi)
    await writeFile(join(pi.folder.dir, 'hold-right'), '')
    const id = await deploy(pi, '1.1', 'motors')
    while (!(await notesOf(pi)).includes('part right ttyACM1')) await sleep(20)
    await withList(pi, `echo '${JSON.stringify({ components: LIST.components.slice(1) })}'`)
    process.kill(await pi.events.pid(), 'SIGKILL')
    await pi.events.waitFor('hub.connected', 2)
    await rm(join(pi.folder.dir, 'hold-right'))
    const report = await pi.expectResult(id, { resultCode: 700, version: '1.0.0' })
    assert.deepEqual(codes(report), ['step_0 700', 'step_1 700'])
    assert.deepEqual(await notesOf(pi), ['before  ', 'part left ttyACM0', 'part right ttyACM1'])
  },
)

rig.test('a component that is gone before its turn ends the list, and the report says so', { steps: {} }, async pi => {
  await withList(pi)
  await writeFile(join(pi.folder.dir, 'hold-left'), '')
  const id = await deploy(pi, '1.1', 'motors')
  while (!(await notesOf(pi)).includes('part left ttyACM0')) await sleep(20)
  await withList(pi, `echo '${JSON.stringify({ components: LIST.components.slice(0, 2) })}'`)
  process.kill(await pi.events.pid(), 'SIGKILL')
  await pi.events.waitFor('hub.connected', 2)
  await rm(join(pi.folder.dir, 'hold-left'))
  const report = await pi.expectResult(id, {
    resultCode: 0,
    code: '3210000F',
    details: /component "right"/,
    version: '1.0.0',
  })
  assert.deepEqual(codes(report), ['step_0 700', 'step_1 0'])
  assert.deepEqual(await notesOf(pi), ['before  ', 'part left ttyACM0'])
})

rig.test('a list that cannot be had refuses the deployment before anything is done', { steps: {} }, async pi => {
  await withList(pi, 'echo "{}"')
  const id = await deploy(pi, '1.1', 'motors')
  await pi.expectResult(id, { resultCode: 0, code: '3040000A', details: /list of components/, version: '1.0.0' })
  assert.deepEqual(await notesOf(pi), [])
})
