import { nearingEnd } from '../../adapters/identity/certificate-end.ts'
import type { Config } from '../../config/config.ts'
import { HubError } from '../../domain/errors.ts'
import { deviceCertificates } from '../device-certificates.ts'
import { type Finding, fail, ok, warn } from './finding.ts'

const REMEDIES = {
  own: 'Replace its files with a new certificate and key.',
  issued: 'Look for identity.registration-failed in journalctl -u pi-adu-agent: the renewal should have happened.',
} as const
const REFUSED =
  'Check that the hub trusts the certificate authority of the credential policy. The agent tries again once a day.'

/** The device's certificates; empty for a device that has only keys. Unreadable files are reported with the configuration. */
export async function deviceCertificate(config: Config, now = new Date()): Promise<readonly Finding[]> {
  let all: Awaited<ReturnType<typeof deviceCertificates>>
  try {
    all = await deviceCertificates(config)
  } catch (error) {
    if (!(error instanceof HubError)) throw error
    return [fail('issued', error.message, 'Run it as root or as the agent’s user, and check the data partition.')]
  }
  return all.map(({ from, leaf, refused }) => {
    const name = from === 'own' ? 'identity' : 'issued'
    const says = nearingEnd(leaf, now)
    if (refused !== undefined) return warn(name, `the certificate of this device was not renewed: ${refused}`, REFUSED)
    const until = new Date(leaf.validTo).toISOString().slice(0, 10)
    if (says === undefined) return ok(name, `the certificate of this device is valid until ${until}`)
    return warn(name, `the certificate of this device ${says}`, REMEDIES[from])
  })
}
