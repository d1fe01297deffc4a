import { lookup } from 'node:dns/promises'
import { describeWlan, readWlans } from '../../adapters/system/wlan.ts'
import { HubError, messageOf } from '../../domain/errors.ts'
import type { Hub } from '../../ports/hub.ts'
import type { Runner } from '../../ports/runner.ts'
import type { AgentView } from '../../view/view.ts'
import { type Finding, fail, ok, skip, warn } from './finding.ts'

/** Milliseconds for the whole login, with all its attempts. */
const PATIENCE = 60_000

/** `proxied`: the proxy resolves the name. */
export async function hubName(host: string, proxied: boolean): Promise<Finding> {
  if (proxied) return skip('name', 'the proxy resolves the name of the hub')
  try {
    const { address } = await lookup(host)
    return ok('name', `${host} is ${address}`)
  } catch (error) {
    const remedy = 'Check the host name in the connection string, and the name server: resolvectl status.'
    return fail('name', `${host} cannot be resolved: ${messageOf(error)}`, remedy)
  }
}

/** Of the image's layer for WLAN: prints why the device is in no network. */
const TROUBLE = '/usr/lib/wlan/trouble'

/** A finding for each wireless interface; a wired device may have one that is in no network. */
export async function wlan(programs: Runner, root = '/'): Promise<readonly Finding[]> {
  const found = await readWlans(programs, root)
  const options = { signal: AbortSignal.timeout(20_000), timeout: 15_000, code: 'INTERNAL' } as const
  const trouble = found.length === 0 ? '' : await programs.run([TROUBLE], options).catch(() => '')
  return found.map(each => {
    const says = describeWlan(each)
    if (each.ssid !== undefined) return ok('wlan', says)
    if (trouble === '' || each.isAccessPoint) return skip('wlan', says)
    return warn(
      'wlan',
      trouble,
      'Put a corrected file onto the boot partition, such as NAME.psk; iwd says more: journalctl -u iwd.',
    )
  })
}

/** What a running agent says of its connection. A second connection would end the agent's. */
export function running({ phase, hub }: Pick<AgentView, 'phase' | 'hub'>): Finding {
  if (hub.connected) return ok('hub', 'the agent is connected')
  if (phase === 'starting') return skip('hub', 'the agent has just started, and is connecting')
  const why = hub.why ?? 'the agent is connecting'
  return fail('hub', `the agent is not connected: ${why}`, remedyFor(why))
}

/** Whether the hub accepts this device. Only without a running agent. */
export async function login(hub: Hub): Promise<Finding> {
  try {
    const connection = await hub.connect(AbortSignal.timeout(PATIENCE))
    await connection.close()
    return ok('hub', 'the hub accepts this device')
  } catch (error) {
    const why = error instanceof HubError ? error.message : `no answer within ${PATIENCE / 1000} s: ${messageOf(error)}`
    return fail('hub', why, remedyFor(why))
  }
}

const REMEDIES: readonly (readonly [says: RegExp, remedy: string])[] = [
  [
    /not authori[sz]ed|unauthori[sz]ed|denied/i,
    'Check that the device exists at the hub, is enabled, and has this key.',
  ],
  [
    /refused this device's certificate|refused the certificate/,
    'Check that the hub knows the certificate (its thumbprint or its authority), and its dates.',
  ],
  [/certificate is not trusted/, 'Set the setting that the message names to a file with the server’s authority.'],
  [/proxy/i, 'Check https_proxy and no_proxy in the environment of the agent’s unit.'],
  [/not yet valid|expired|clock/i, 'Set the clock, or renew the certificate that is named.'],
  [
    /certificate|issuer|self.signed|altname/i,
    'Check piAdu.hub.caFile: it must name the authority of the hub’s certificate.',
  ],
  [/ENOTFOUND|EAI_AGAIN/, 'Check the host name in the connection string, and the name server: resolvectl status.'],
  [
    /ECONNREFUSED|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|within|no answer/,
    'Check network and firewall: port 8883, or 443 with iotHubProtocol "mqtt/ws".',
  ],
]

const remedyFor = (why: string): string =>
  REMEDIES.find(([says]) => says.test(why))?.[1] ?? 'Read the message, and look at journalctl -u pi-adu-agent.'
