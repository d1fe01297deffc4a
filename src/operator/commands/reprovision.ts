import { setTimeout as sleep } from 'node:timers/promises'
import { type Command, InvalidArgumentError } from 'commander'
import { bar, openView } from '../../cli/live-view.ts'
import { connectionFields } from '../../domain/connection-string.ts'
import { HUB, PROVISIONING } from '../connection.ts'
import { readDevices } from '../factory/device-list.ts'
import { checkedRegistrationId } from '../factory/names.ts'
import type { ProvisioningService } from '../factory/provisioning-service.ts'
import { EXIT, Failure } from '../failure.ts'
import { untilInterrupted } from '../follow.ts'
import { HubFailure, HubService } from '../hub-service.ts'
import { print } from '../output.ts'
import { wholeNumber } from './flags.ts'
import {
  type HubFlags,
  hubConnection,
  type ProvisioningFlags,
  provisioningService,
  withHub,
  withProvisioning,
} from './provisioning.ts'

interface Options extends ProvisioningFlags, HubFlags {
  readonly csv?: string
  readonly order: string
  readonly perMinute: number
}

/** 'registered': since the order, which only a time can tell. 'waiting': ordered by an earlier call, and not registered since, as far as known. */
interface Ordered {
  readonly registrationId: string
  readonly state: 'ordered' | 'waiting' | 'registered' | 'not registered' | 'assigned elsewhere' | 'not there'
  readonly deviceId?: string
  readonly assignedHub?: string
}

const HELP = `
Examples:
  pi-adu-operator reprovision pi-0001
      the device registers again, and connects to the hub that its enrollment now assigns
  pi-adu-operator reprovision --csv batch.csv --per-minute 100
  pi-adu-operator reprovision --csv batch.csv --order 2026-11-27T09:00:00.000Z
      continues that order, or shows how far it is: a device that has it gets no second one
Whether a device has registered since the order is known if the order's name is a time, as it is by default.
The order goes into the desired properties (piAdu.reprovision), so a device that is offline obeys when it connects. Change the
enrollments first. A running installation goes on. Ctrl-C stops after the device at hand; the order's name then continues it. --per-minute keeps the fleet below the quota of the service. Ends with
${EXIT.failed} if a device is not registered, or is not at this hub. The connection string of the provisioning service comes from
--login, --login-file or ${PROVISIONING} (a policy with "registration status read"); the hub's from --hub-login-file or ${HUB}
(a policy with "service connect"). Devices with a connection string ignore the order.`

const orderName = (given: string): string => {
  if (!/^[\w.:-]{1,64}$/.test(given))
    throw new InvalidArgumentError('It has characters beside letters, digits, . : _ -')
  return given
}

export function addReprovision(program: Command): void {
  const command = program
    .command('reprovision')
    .description('orders devices to register again at the provisioning service')
    .argument('[registration-id...]', 'the devices')
    .option('--csv <file>', 'a list of devices, as for enrol')
    .option('--order <name>', 'name of the order, by default the time', orderName, new Date().toISOString())
    .option('--per-minute <count>', 'how many devices get the order in a minute', wholeNumber(1), 100)
  withProvisioning(withHub(command)).addHelpText('after', HELP).action(run)
}

async function run(given: readonly string[], options: Options): Promise<void> {
  const { csv, json, order, perMinute } = options
  if ((csv === undefined) === (given.length === 0)) {
    throw new Failure(EXIT.usage, 'one of --csv and registration ids is needed')
  }
  const ids =
    csv === undefined
      ? [...new Set(given.map(id => checkedRegistrationId(id, JSON.stringify(id))))]
      : (await readDevices(csv, false)).map(({ registrationId }) => registrationId)
  const hubLogin = await hubConnection(options)
  const view = await openView(json)
  const service = await provisioningService(options, why => view.trouble(why))
  const hub = await HubService.open(hubLogin)
  const hubName = new Map(connectionFields(hubLogin)).get('HostName')?.toLowerCase() ?? ''
  const done: Ordered[] = []
  const stop = untilInterrupted()
  // Before the first order: only with its name can the rest be ordered later, however this program ends.
  process.stderr.write(`order ${order}\n`)
  try {
    for (const id of ids) {
      if (stop.aborted) break
      const one = await orderOne(id, order, service, hub, hubName)
      done.push(one)
      const text = `${done.length} of ${ids.length} devices`
      view.show([`${bar((done.length / ids.length) * 100)}  ${text}`], text, { devices: done.length, of: ids.length })
      if (one.state === 'ordered' && done.length < ids.length) await pause(60_000 / perMinute, stop)
    }
  } finally {
    await view.end()
    // After an error or Ctrl-C too.
    print(json, { order, devices: done }, [...done.map(line), `order ${order}`])
  }
  if (done.length < ids.length) {
    const rest = `stopped after ${done.length} of ${ids.length} devices; --order ${order} continues it`
    throw new Failure(EXIT.stopped, rest)
  }
  if (done.some(({ state }) => BAD.has(state))) process.exitCode = EXIT.failed
}

const pause = (ms: number, stop: AbortSignal): Promise<void> =>
  sleep(ms, undefined, { signal: stop }).catch(error => {
    if (!stop.aborted) throw error
  })

/** Date.parse takes other names for times too: `move-2` for a day in 2001. */
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)$/

async function orderOne(
  registrationId: string,
  order: string,
  service: ProvisioningService,
  hub: HubService,
  hubName: string,
): Promise<Ordered> {
  const registration = await service.registration(registrationId)
  const { deviceId, assignedHub, lastUpdatedDateTimeUtc = '' } = registration ?? {}
  if (deviceId === undefined || assignedHub === undefined) return { registrationId, state: 'not registered' }
  const known = { registrationId, deviceId, assignedHub }
  if (TIME.test(order) && Date.parse(lastUpdatedDateTimeUtc) > Date.parse(order))
    return { ...known, state: 'registered' }
  // This hub may have another device of that name.
  if (assignedHub.toLowerCase() !== hubName) return { ...known, state: 'assigned elsewhere' }
  try {
    const { piAdu } = ((await hub.twin(deviceId)).properties.desired ?? {}) as { piAdu?: { reprovision?: unknown } }
    if (piAdu?.reprovision === order) return { ...known, state: 'waiting' }
    await hub.updateDesired(deviceId, { piAdu: { reprovision: order } })
    return { ...known, state: 'ordered' }
  } catch (error) {
    if (error instanceof HubFailure && error.status === 404) return { ...known, state: 'not there' }
    throw error
  }
}

const BAD: ReadonlySet<Ordered['state']> = new Set(['not registered', 'assigned elsewhere', 'not there'])

const STATES: Readonly<Record<Ordered['state'], string>> = {
  ordered: 'registers again when it has seen the order',
  waiting: 'has the order, and is not known to have registered since',
  registered: 'has registered since the order',
  'not registered': 'has never registered',
  'assigned elsewhere': 'belongs to another hub: call this with its connection string',
  'not there': 'is not at the hub that it was assigned to; it registers again by itself',
}

const line = ({ registrationId, state, assignedHub }: Ordered): string =>
  `${registrationId}  ${STATES[state]}${assignedHub === undefined ? '' : ` (${assignedHub})`}`
