import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { StepService } from '../../src/adapters/steps/step-service.ts'
import { systemClock } from '../../src/adapters/system/clock.ts'
import type { Verb } from '../../src/ports/steps.ts'
import { answerOf, NEVER, SETTINGS, signed } from '../steps/support.ts'
import type { Booted } from './step-units.ts'

const NAME = 'pi-adu-agent'
const FOLDER = '/var/lib/adu/upgrade'

/** A signed apt step upgrades the agent and the step service that carries it out, to the version in `deb`. */
export async function checkOwnUpgrade({ at, inside }: Booted, deb: string, version: string): Promise<void> {
  publishDeb(at, deb, version)
  writeFileSync(at('/etc/pi-adu/steps.json'), JSON.stringify(SETTINGS), { mode: 0o644 })
  const list = { name: 'agent', version, packages: [{ name: NAME, version }], agentRestartRequired: true }
  const files = { 'agent.json': JSON.stringify(list) }
  mkdirSync(at(FOLDER), { recursive: true, mode: 0o700 })
  writeFileSync(at(`${FOLDER}/agent.json`), files['agent.json'])
  const properties = { installedCriteria: `agent-${version}` }
  const text = signed({ files, version: '2.0.0', handler: 'microsoft/apt:1', properties })
  const keyStore = { read: async () => undefined }
  const service = new StepService({ socket: at('/run/pi-adu-steps/socket'), keyStore, clock: systemClock })
  const pidsOf = () => inside('systemctl show --property MainPID --value pi-adu-agent pi-adu-steps').said
  let pids = ''
  const codes: number[] = []
  for (const verb of [
    'isInstalled',
    'download',
    'install',
    'apply',
    'isInstalled',
  ] as const satisfies readonly Verb[]) {
    const order = { id: `upgrade-${codes.length}`, signed: text, path: [0], verb, folder: FOLDER }
    const answer = await answerOf(service.run(order, () => {}, NEVER))
    assert.ok(typeof answer === 'object', String(answer))
    codes.push(answer.resultCode)
    assert.notEqual(answer.resultCode, 0, answer.resultDetails)
    pids ||= pidsOf()
  }
  // 707: the agent restarts itself.
  assert.deepEqual(codes, [901, 500, 600, 707, 900])
  assert.equal(inside(`dpkg-query --show ${NAME}`).said, `${NAME}\t${version}`)
  assert.equal(pidsOf(), pids, 'agent or step service were restarted')
}

/** The system's only repository from now on. */
export function publishDeb(at: Booted['at'], deb: string, version: string): void {
  const folder = '/srv/repository'
  const name = `${NAME}_${version}_all.deb`
  mkdirSync(at(folder), { recursive: true })
  copyFileSync(deb, at(`${folder}/${name}`))
  const content = readFileSync(deb)
  const fields = [
    ...[
      `Package: ${NAME}`,
      `Version: ${version}`,
      'Architecture: all',
      `Filename: ./${name}`,
      `Size: ${content.length}`,
    ],
    ...[`SHA256: ${createHash('sha256').update(content).digest('hex')}`, 'Description: the agent', ''],
  ]
  writeFileSync(at(`${folder}/Packages`), fields.join('\n'))
  writeFileSync(at('/etc/apt/sources.list'), `deb [trusted=yes] copy:${folder} ./\n`)
}
