import { registrationIdFlaw } from '../../domain/registration-id.ts'
import { EXIT, Failure } from '../failure.ts'

/** What fits into the common name of a certificate. */
const COMMON_NAME = 64

/**
 * Checks a registration id and gives it in lower case, which is how devices sign it. With a certificate it is the common name
 * too. Errors: Failure.
 */
export function checkedRegistrationId(text: string, source: string, withCertificate = false): string {
  const id = text.toLowerCase()
  const long = withCertificate && id.length > COMMON_NAME
  const flaw = long
    ? `has more than ${COMMON_NAME} characters, and a certificate has no room for it`
    : registrationIdFlaw(id)
  if (flaw) throw new Failure(EXIT.usage, `${source} is not a registration id: it ${flaw}`)
  return id
}

/** Errors: Failure. */
export function checkedDeviceId(text: string, source: string): string {
  if (!/^[A-Za-z0-9\-._]{1,128}$/.test(text)) {
    throw new Failure(EXIT.usage, `${source} is not a device id: 1 to 128 of A-Z a-z 0-9 - . _`)
  }
  return text
}
