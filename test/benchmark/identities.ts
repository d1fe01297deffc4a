import { X509Certificate } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { selfSignedDevice } from '../bench/dps/authority.ts'
import { type AgentOptions, forget, startAgent } from './agent-run.ts'
import type { Rig } from './rig.ts'

/** What a device is known by; `service`: assigned by the provisioning service in an earlier start. */
export const IDENTITIES = ['connectionString', 'certificate', 'service'] as const
export type IdentityName = (typeof IDENTITIES)[number]

export interface IdentityFigures {
  /** From the start of the process to "connected, and the twin was read". */
  readonly ms: number
  /** Resident, a few seconds later. */
  readonly idleMB: number
}

export type Identities = Readonly<Record<IdentityName, readonly IdentityFigures[]>>

/** Starts an agent with each identity in turn, `rounds` times. */
export async function startWithEach(
  rig: Rig,
  options: AgentOptions,
  rounds: number,
  say: (line: string) => void,
): Promise<Identities> {
  const { config } = rig.device
  const before = await readFile(config, 'utf8')
  const configs = await configsOf(rig, before)
  const found: Record<IdentityName, IdentityFigures[]> = { connectionString: [], certificate: [], service: [] }
  try {
    await forget(rig)
    // The round that does not count registers the device.
    for (let round = 0; round <= rounds; round++) {
      for (const name of IDENTITIES) {
        await writeFile(config, configs[name])
        const agent = await startAgent(rig, options)
        await sleep(3_000)
        const figures = { ms: agent.connectedAfter, idleMB: agent.figures().rssMB }
        await agent.kill()
        if (round > 0) found[name].push(figures)
        say(`${round} of ${rounds}: ${name}: ${figures.ms} ms, ${figures.idleMB.toFixed(1)} MB`)
      }
    }
  } finally {
    await writeFile(config, before)
  }
  return found
}

async function configsOf({ bench: { hub }, dir }: Rig, before: string): Promise<Record<IdentityName, string>> {
  const secret = async (name: string, text: string): Promise<string> => {
    await writeFile(join(dir, name), text, { mode: 0o600 })
    return join(dir, name)
  }
  const { cert, key } = await selfSignedDevice('benchmark-x509')
  hub.createDevice('benchmark-x509', { thumbprint: new X509Certificate(cert).fingerprint256.replaceAll(':', '') })
  const withCertificate = JSON.parse(before)
  Object.assign(withCertificate.agents[0].connectionSource, {
    connectionType: 'X509',
    connectionData: hub.deviceConnectionString('benchmark-x509'),
    connectionX509CertFilePath: await secret('device.pem', cert),
    connectionX509PrivateKeyFilePath: await secret('device.key', key),
    connectionX509CaCertFilePath: hub.caFile,
  })
  hub.provisioning.enrollGroup({ enrollmentGroupId: 'benchmark', attestation: { type: 'symmetricKey' } })
  const registrationId = 'benchmark-dps'
  const provisioned = JSON.parse(before)
  delete provisioned.agents[0].connectionSource
  provisioned.piAdu.provisioning = {
    ...{ idScope: hub.provisioning.idScope, host: `localhost:${hub.mqttPort}`, caFile: hub.caFile, registrationId },
    symmetricKeyFile: await secret('dps.key', hub.provisioning.deviceKey('benchmark', registrationId)),
  }
  return {
    connectionString: before,
    certificate: JSON.stringify(withCertificate),
    service: JSON.stringify(provisioned),
  }
}
