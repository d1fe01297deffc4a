import { cp, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import { onOneLine } from '../../../src/domain/terminal.ts'
import { type Bench, startBench } from '../bench.ts'
import { readBootEnv } from '../workbench/boot-env.ts'
import { type PoweredDevice, startDevice } from '../workbench/control.ts'
import { createDevice } from '../workbench/device.ts'
import { deviceFolder, deviceStatus } from '../workbench/device-folder.ts'
import { type Check, fact, twinSaysApplied } from './verdict.ts'
import type { AgentReport } from './watch.ts'

/**
 * `scripts/demo --dps`: devices that know neither hub nor key of a hub, from the office to an installed update. The certificate of the
 * first one ends soon, and is renewed.
 */

export interface FleetOptions {
  readonly stateDir: string
  readonly devices: number
  readonly imageBytes: number
  readonly signal: AbortSignal
  readonly tell: (who: string, what: string) => void
}

interface Device {
  readonly id: string
  readonly dir: string
  on?: PoweredDevice
}

const OPERATOR = fileURLToPath(new URL('../../../src/operator/main.js', import.meta.url))
const GROUP = 'fleet'
const [OLD, NEW] = ['1.0.0', '2.0.0']
/** Seconds: it is due for renewal after 9 to 14, because certificates begin a minute before they are issued. */
const SHORT_LIFE = 32
const EARLIER = 60
const LONG_LIFE = 90 * 86_400
/** One machine runs about ten SWUpdates at a time: each of them takes a socket name out of a few. */
const AT_ONCE = 6
/** Longer than a slow machine needs for all of them. */
const PATIENCE_MS = 300_000

export async function playFleet(options: FleetOptions): Promise<Check[]> {
  const { signal, tell } = options
  const bench = await startBench({ stateDir: options.stateDir })
  const devices: Device[] = []
  try {
    const ids = Array.from({ length: options.devices }, (_, index) => `pi-${String(index + 1).padStart(4, '0')}`)
    tell('office', 'no device is registered at the hub; an enrollment group is all there will be')
    const cards = await enrolled(bench, ids, options)
    for (const id of ids) devices.push({ id, dir: await flashed(bench, id, join(cards, id), id === ids[0], options) })
    const off = following(bench, tell)
    try {
      const [first = fail(), ...others] = devices
      const issued = await startRenewed(bench, first, options)
      await Promise.all(others.map(switchOn))
      tell('office', `all ${devices.length} devices are switched on`)
      await until(() => ids.every(id => bench.hub.isConnected(id)), 'the devices to connect', signal)

      const tree = { version: NEW, payloadBytes: Math.floor(options.imageBytes * 0.8) }
      const update = await bench.importBundle(await bench.buildBundle({ tree, imageBytes: options.imageBytes }), NEW)
      const some = ids.length > AT_ONCE ? `, to ${AT_ONCE} at once` : ''
      tell('hub', `deploys system ${NEW} to all ${ids.length}${some}`)
      const workflows = new Map<string, string>()
      const final = (id: string): AgentReport | undefined => {
        const agent = reportOf(bench, id)
        const isOurs = agent?.workflow?.id !== undefined && agent.workflow.id === workflows.get(id)
        return isOurs && agent.state !== 6 ? agent : undefined
      }
      const deployed = (): boolean => {
        for (const id of ids) {
          const running = [...workflows.keys()].filter(each => !final(each)).length
          if (running < AT_ONCE && !workflows.has(id)) workflows.set(id, bench.deploy(id, update))
        }
        return ids.every(final)
      }
      await until(deployed, 'the reports of how it ended', signal)
      const renewal = await renewed(bench, first, issued, options)
      const each = await Promise.all(devices.map(device => checksOf(bench, device, final(device.id) ?? {})))
      return [...each.flat(), renewal]
    } finally {
      off()
    }
  } finally {
    await Promise.all(devices.map(({ on }) => on?.powerCut()))
    await bench.stop()
  }
}

async function switchOn(device: Device): Promise<void> {
  device.on = await startDevice(device.dir)
}

/** Switches on a device with an issued certificate that ends soon. Returns its thumbprint. */
async function startRenewed(bench: Bench, device: Device, { signal, tell }: FleetOptions): Promise<string> {
  const { hub } = bench
  const { id } = device
  const key = hub.provisioning.deviceKey(GROUP, id)
  hub.provisioning.enroll({
    registrationId: id,
    attestation: { type: 'symmetricKey', symmetricKey: { primaryKey: key, secondaryKey: key } },
    credentialPolicyName: hub.provisioning.credentialPolicy,
    initialTwin: { tags: { ADUGroup: 'pilot' } },
  })
  hub.provisioning.setCertificateLife(SHORT_LIFE)
  tell('office', `for ${id} the service issues a certificate, which ends in ${SHORT_LIFE} s`)
  await switchOn(device)
  await until(() => thumbprintOf(bench, id) !== undefined, `the certificate of ${id}`, signal)
  hub.provisioning.setCertificateLife(LONG_LIFE)
  const issued = thumbprintOf(bench, id) ?? ''
  tell(id, `shows certificate ${issued.slice(0, 8)}…, for a key that it made itself`)
  return issued
}

/** An agent renews when it connects. If it has not, because its reboots came too early, its power is cut and comes back. */
async function renewed(bench: Bench, device: Device, issued: string, { signal, tell }: FleetOptions): Promise<Check> {
  const { id } = device
  const isRenewed = () => ![undefined, issued].includes(thumbprintOf(bench, id))
  // As `isDue` of the agent has it, and a second for rounding.
  const left = 0.25 - (Number.parseInt(issued.slice(0, 2), 16) / 255) * 0.05
  const due = endOf(bench, id) - (EARLIER + SHORT_LIFE) * 1000 * left + 1000
  if (!isRenewed()) {
    const pause = Math.max(0, due - Date.now())
    if (pause > 0) tell(id, `its certificate is due for renewal in ${Math.ceil(pause / 1000)} s`)
    await sleep(pause, undefined, { signal })
    tell(id, 'is switched off and on')
    await device.on?.powerCut()
    await switchOn(device)
    await until(isRenewed, `the renewal of ${id}`, signal)
  }
  tell(id, `shows certificate ${thumbprintOf(bench, id)?.slice(0, 8)}…, renewed with another key`)
  const count = bench.hub.provisioning.registrationsOf(id)
  const ends = endOf(bench, id)
  const isGood = count === 2 && ends - Date.now() > (LONG_LIFE / 2) * 1000
  return fact(
    `${id}: its certificate was renewed`,
    isGood,
    `${count} registrations, ends ${new Date(ends).toISOString()}`,
  )
}

const certificateOf = ({ hub }: Bench, id: string) =>
  hub.hasDevice(id)
    ? (hub.getTwin(id).properties.reported.piAdu as { certificate?: { sha256: string; notAfter: string } } | undefined)
        ?.certificate
    : undefined
const thumbprintOf = (bench: Bench, id: string) => certificateOf(bench, id)?.sha256
const endOf = (bench: Bench, id: string) => Date.parse(certificateOf(bench, id)?.notAfter ?? '')

/** The operator's own program: one configuration, a list, and a folder for each card. */
async function enrolled({ hub }: Bench, ids: readonly string[], { stateDir, signal, tell }: FleetOptions) {
  const at = (name: string) => join(stateDir, name)
  const config = { schemaVersion: '1.1', manufacturer: 'contoso', model: 'workbench', agents: [] }
  const provisioning = { host: `localhost:${hub.mqttPort}`, caFile: hub.caFile }
  await writeFile(at('du-config.json'), JSON.stringify({ ...config, piAdu: { provisioning } }))
  await writeFile(at('batch.csv'), ['registrationId', ...ids].join('\n'))
  const flags = ['--csv', at('batch.csv'), '--config', at('du-config.json'), '--out', at('batch')]
  const group = ['--id-scope', hub.provisioning.idScope, '--group', GROUP, '--tag', 'ADUGroup=pilot']
  const env = { ...hub.childEnvironment(), DPS_CONNECTION_STRING: hub.provisioning.serviceConnectionString }
  tell('office', `pi-adu-operator enrol --csv batch.csv --out batch --group ${GROUP} …`)
  const { stdout } = await execa('node', [OPERATOR, 'enrol', ...flags, ...group], { env, cancelSignal: signal })
  tell(
    'office',
    stdout
      .trim()
      .split('\n')
      .at(-2)
      ?.replace(/^\S+ +/, '') ?? '',
  )
  return at('batch')
}

/** A workbench device with the files of its card, where an image would have moved them. */
async function flashed(
  bench: Bench,
  id: string,
  card: string,
  isFirst: boolean,
  { imageBytes, signal }: FleetOptions,
): Promise<string> {
  signal.throwIfAborted()
  const dir = bench.deviceDir(id)
  const { data } = deviceFolder(dir)
  const { provisioning } = JSON.parse(await readFile(join(card, 'du-config.json'), 'utf8')).piAdu
  await createDevice(dir, {
    a: { version: OLD, payloadBytes: Math.floor(imageBytes * 0.8) },
    slotBytes: imageBytes,
    hubCaFile: bench.hub.caFile,
    contentCaFile: bench.hub.caFile,
    rootKeys: bench.authority.rootKeyJwks,
    bundleCertificate: bench.signer.certificate,
    // Only where the enrollment names a credential policy: see `startRenewed`.
    piAdu: { provisioning: { ...provisioning, symmetricKeyFile: join(data, 'dps.key'), issueCertificate: isFirst } },
  })
  await cp(join(card, 'dps.key'), join(data, 'dps.key'))
  return dir
}

/** Tells what the hub sees. Returns the function that ends it. */
function following({ hub }: Bench, tell: FleetOptions['tell']): () => void {
  const seen = new Set<string>()
  const said = new Map<string, string>()
  return hub.onEvent(event => {
    if (event.type === 'connected' && !seen.has(event.deviceId)) {
      seen.add(event.deviceId)
      tell(event.deviceId, `registered, assigned to ${hub.assignable.address}, connected`)
    }
    if (event.type !== 'reported') return
    const { agent } = (event.reported.deviceUpdate ?? {}) as { agent?: AgentReport }
    if (!agent?.workflow) return
    const { resultCode, extendedResultCodes } = agent.lastInstallResult ?? {}
    const text =
      agent.state === 6 ? 'in progress' : `state ${agent.state}, result ${resultCode}, ${extendedResultCodes}`
    if (said.get(event.deviceId) !== text) tell(event.deviceId, text)
    said.set(event.deviceId, text)
  })
}

const reportOf = ({ hub }: Bench, id: string) =>
  ((hub.getTwin(id).properties.reported.deviceUpdate ?? {}) as { agent?: AgentReport }).agent

/** Looked up from outside: nothing of it is the agent's word, but the twin. */
async function checksOf(bench: Bench, { id, dir }: Device, report: AgentReport): Promise<Check[]> {
  const folder = deviceFolder(dir)
  const [{ booted }, boot, version, config] = await Promise.all([
    deviceStatus(dir),
    readBootEnv(folder.bootEnv),
    readFile(join(folder.root, 'etc/adu-version'), 'utf8').catch(() => ''),
    readFile(folder.config, 'utf8'),
  ])
  const registrations = bench.hub.provisioning.registrationsOf(id)
  const isIssued = certificateOf(bench, id) !== undefined
  const tags = JSON.stringify(bench.hub.getTwin(id).tags)
  const runs = booted === 'b' && version.trim() === NEW && boot?.primary === 'b' && boot.trial === 'none'
  const applied = twinSaysApplied(report, NEW)
  return [
    fact(`${id}: has no connection string`, !/SharedAccessKey|connectionData/.test(config), 'it has one'),
    fact(
      `${id}: ${isIssued ? '' : 'registered once, and '}is in its group`,
      (isIssued || registrations === 1) && tags.includes('pilot'),
      `${registrations}, ${tags}`,
    ),
    fact(
      `${id}: runs system ${NEW} from slot b`,
      runs,
      `${version.trim()} from slot ${booted}, ${JSON.stringify(boot)}`,
    ),
    ...applied.map(({ what, ok, found }) => fact(`${id}: ${what}`, ok, onOneLine(found))),
  ]
}

function fail(): never {
  throw new Error('there is no device')
}

async function until(check: () => boolean, what: string, signal: AbortSignal): Promise<void> {
  for (const limit = Date.now() + PATIENCE_MS; !check(); await sleep(100, undefined, { signal })) {
    if (Date.now() > limit) throw new Error(`waited ${PATIENCE_MS / 1000} s in vain for ${what}`)
  }
}
