import assert from 'node:assert/strict'
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { StepService } from '../../src/adapters/steps/step-service.ts'
import { systemClock } from '../../src/adapters/system/clock.ts'
import type { Verb } from '../../src/ports/steps.ts'
import { importWanted, written } from '../bench/authoring/wanted.ts'
import type { Bench } from '../bench/bench.ts'
import { Repository } from '../steps/apt/repository.ts'
import { answerOf, NEVER, SETTINGS, signed } from '../steps/support.ts'
import type { Reported } from './reported.ts'
import type { Booted } from './step-units.ts'

/** Writes where only root may, and to both outputs. */
const POSTINST = 'echo begins; echo warns >&2; id -un >/etc/tool; echo ends'

/** A package from a signed repository, through the step service, where systemd runs. */
export async function checkAptSteps({ at, inside }: Booted): Promise<void> {
  await withRepository(at, async repository => {
    await repository.publish({ name: 'tool', version: '1.0', scripts: { postinst: POSTINST } })
    writeFileSync(at('/etc/pi-adu/steps.json'), JSON.stringify(SETTINGS), { mode: 0o644 })
    const verbs = verbsAt(at)
    const tool = [{ name: 'tool', version: '1.0' }]
    const codes = await verbs('1.1.0', tool, 'isInstalled', 'download', 'install', 'apply', 'isInstalled')
    assert.deepEqual(codes, [901, 500, 600, 700, 900])
    assert.equal(inside('cat /etc/tool').said, 'root')
    assert.match(inside('cat /var/lib/adu/installedcriteria').said, /"edge-1\.1\.0"/)
  })
}

/** Orders verbs of an update with one step, and gives their result codes. */
function verbsAt(at: Booted['at']) {
  const folder = '/var/lib/adu/files'
  mkdirSync(at(folder), { recursive: true, mode: 0o700 })
  const keyStore = { read: async () => undefined }
  const service = new StepService({ socket: at('/run/pi-adu-steps/socket'), keyStore, clock: systemClock })
  return async (
    version: string,
    packages: readonly object[],
    ...verbs: readonly Verb[]
  ): Promise<readonly number[]> => {
    const files = { 'edge.json': JSON.stringify({ name: 'edge', version, packages }) }
    writeFileSync(at(`${folder}/edge.json`), files['edge.json'])
    const text = signed({
      files,
      version,
      handler: 'microsoft/apt:1',
      properties: { installedCriteria: `edge-${version}` },
    })
    const codes: number[] = []
    for (const [index, verb] of verbs.entries()) {
      const order = { id: `packages-${version}-${index}`, signed: text, path: [0], verb, folder }
      const answer = await answerOf(service.run(order, () => {}, NEVER))
      assert.ok(typeof answer === 'object' && answer.resultCode > 0, JSON.stringify(answer))
      codes.push(answer.resultCode)
    }
    return codes
  }
}

/**
 * Deployments of the hub, through the agent: two apt steps, of which a later deployment finds the first one installed; then `own`,
 * the agent's own newer package.
 */
export async function checkAptDeployment({ at, inside }: Booted, bench: Bench, id: string, own: string): Promise<void> {
  await withRepository(at, async (repository, home) => {
    await repository.publish({ name: 'gadget', version: '1.0' }, { name: 'gizmo', version: '2.0-1' })
    const settings = { rootKeys: bench.authority.rootKeyJwks }
    writeFileSync(at('/etc/pi-adu/steps.json'), JSON.stringify(settings), { mode: 0o644 })
    const list = (name: string, ...packages: readonly object[]): string => {
      const file = join(home, `${name}.json`)
      writeFileSync(file, JSON.stringify({ name, version: '1.0', packages }))
      return `apt:${file}`
    }
    const deploy = async (version: string, ...steps: readonly string[]): Promise<readonly unknown[]> => {
      const { update } = await importWanted(bench, written(...steps.map(step => ({ step }))), version)
      const workflow = bench.deploy(id, update)
      const agent = () => (bench.hub.getTwin(id).properties.reported as Reported).deviceUpdate?.agent
      const isEnded = (): boolean => agent()?.workflow?.id === workflow && agent()?.state !== 6
      await bench.hub.waitFor(isEnded, { timeoutMs: 120_000, what: 'the report' })
      const { resultCode, extendedResultCodes, stepResults = {} } = agent()?.lastInstallResult ?? {}
      return [resultCode, extendedResultCodes, ...Object.values(stepResults).map(step => step.resultCode)]
    }
    const gadget = list('gadget', { name: 'gadget', version: '1.0' })
    const done = await deploy('1.0', gadget, list('gizmo', { name: 'gizmo' }))
    assert.deepEqual(done, [700, '00000000', 700, 700])
    assert.equal(inside('dpkg-query --show gadget gizmo').said, 'gadget\t1.0\ngizmo\t2.0-1')
    assert.deepEqual(await deploy('1.1', gadget, list('no-gizmo', { name: 'gizmo-' })), [700, '00000000', 603, 700])
    assert.match(inside('dpkg-query --show gadget gizmo').said, /^gadget\t1\.0\n.*no packages found matching gizmo$/)

    await repository.publishFile(own)
    const agentPid = () => inside('systemctl show --property MainPID --value pi-adu-agent').said
    const pid = agentPid()
    const upgraded = await deploy(
      '1.2',
      list('agent', { name: 'pi-adu-agent', version: '0.1.0.1' }),
      list('gizmo-again', { name: 'gizmo' }),
    )
    assert.deepEqual(upgraded, [700, '00000000', 707, 700])
    assert.match(inside('dpkg-query --show gizmo pi-adu-agent').said, /^gizmo\t2\.0-1\npi-adu-agent\t0\.1\.0\.1$/)
    assert.notEqual(agentPid(), pid, 'the new agent has reported')
  })
}

/** A repository that the system knows while `work` lasts. */
async function withRepository(at: Booted['at'], work: (repository: Repository, home: string) => Promise<void>) {
  const home = mkdtempSync('/tmp/apt-')
  const repository = await Repository.start(home)
  try {
    mkdirSync(at('/etc/apt/keyrings'), { recursive: true })
    copyFileSync(repository.key, at('/etc/apt/keyrings/workbench.gpg'))
    const source = repository.source.replace(repository.key, '/etc/apt/keyrings/workbench.gpg')
    writeFileSync(at('/etc/apt/sources.list.d/workbench.list'), `${source}\n`)
    await work(repository, home)
  } finally {
    rmSync(at('/etc/apt/sources.list.d/workbench.list'), { force: true })
    await repository.stop()
    rmSync(home, { recursive: true, force: true })
  }
}
