import type { X509Certificate } from 'node:crypto'
import { readCertificate } from '../adapters/identity/certificate.ts'
import { nearingEnd } from '../adapters/identity/certificate-end.ts'
import { IssuedFile, leafOf } from '../adapters/identity/issued.ts'
import { type Config, identityFolder } from '../config/config.ts'
import { identitySettings } from '../config/identity.ts'
import { SILENT } from '../ports/log.ts'

/** A certificate that this device shows: `own`, from the owner's files, or `issued` by the provisioning service. */
export interface DeviceCertificate {
  readonly from: 'own' | 'issued'
  readonly leaf: X509Certificate
  /** Why its renewal came to nothing. */
  readonly refused?: string | undefined
}

/** None for a device with keys only. Errors: as `readCertificate` and `IssuedFile.read`. */
export async function deviceCertificates(config: Config): Promise<readonly DeviceCertificate[]> {
  const settings = identitySettings(config)
  const found: DeviceCertificate[] = []
  if (settings.kind === 'identityService') return []
  if (settings.kind !== 'connectionString' && settings.files) {
    found.push({ from: 'own', leaf: (await readCertificate(settings.files)).leaf })
  }
  if (settings.kind === 'provisioned' && settings.section.issueCertificate) {
    const { current, next, refused } = (await new IssuedFile(identityFolder(config), SILENT).read()) ?? {}
    const pair = next ?? current
    if (pair) found.push({ from: 'issued', leaf: leafOf(pair), refused })
  }
  return found
}

/** Clauses for people, of the certificates whose end is near. What cannot be read is `doctor`'s to say. */
export async function certificateWarnings(config: Config, now: Date): Promise<readonly string[]> {
  const all = await deviceCertificates(config).catch(() => [])
  return all.flatMap(({ leaf }) => nearingEnd(leaf, now) ?? [])
}
