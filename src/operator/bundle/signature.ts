import { createPublicKey, X509Certificate } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { EXIT, Failure, messageOf } from '../failure.ts'
import { runProgram } from '../program.ts'

/**
 * Why a device with `certificate` (PEM file, `swupdate -k`) would refuse the signature; undefined if it accepts it. Verifies as
 * SWUpdate does: CMS in DER, the certificate as the only root, purpose S/MIME signing. Errors: Failure when the certificate
 * cannot be read.
 */
export async function signatureFault(
  description: Buffer,
  signature: Buffer,
  certificate: string,
): Promise<string | undefined> {
  await certificateIn(certificate)
  const form = formOf(signature)
  if (form) return form
  const dir = await mkdtemp(join(tmpdir(), 'bundle-'))
  try {
    const [text, sig] = [join(dir, 'sw-description'), join(dir, 'sw-description.sig')]
    await writeFile(text, description)
    await writeFile(sig, signature)
    await runProgram([
      ...(['openssl', 'cms', '-verify', '-binary', '-inform', 'DER', '-in', sig, '-content', text] as const),
      ...['-CAfile', certificate, '-no-CApath', '-no-CAstore', '-purpose', 'smimesign', '-out', '/dev/null'],
    ])
    return undefined
  } catch (error) {
    if (!(error instanceof Failure) || error.exitCode !== EXIT.failed) throw error
    return reasonIn(error.message)
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}

/** The certificate in a PEM file. Errors: Failure that names what the file has instead. */
export async function certificateIn(path: string): Promise<X509Certificate> {
  const pem = await readFile(path).catch(cause => {
    throw new Failure(EXIT.usage, `cannot read ${path}: ${messageOf(cause)}`, { cause })
  })
  const words = pem.subarray(0, 65_536).toString('latin1')
  if (!words.includes('-----BEGIN ')) throw new Failure(EXIT.usage, `${path} is not a PEM file`)
  if (!/-----BEGIN (X509 |TRUSTED )?CERTIFICATE-----/.test(words)) {
    const what = /-----BEGIN ([A-Z0-9 ]+)-----/.exec(words)?.[1]?.toLowerCase() ?? 'something else'
    throw new Failure(EXIT.usage, `${path} has a ${what}: SWUpdate verifies CMS signatures with a certificate`)
  }
  try {
    return new X509Certificate(pem)
  } catch (cause) {
    throw new Failure(EXIT.usage, `${path} has a certificate that cannot be read: ${messageOf(cause)}`, { cause })
  }
}

/** A CMS signature is a DER sequence that begins with the object identifier of signedData. */
function formOf(signature: Buffer): string | undefined {
  const signedData = Buffer.from('06092a864886f70d010702', 'hex')
  if (signature[0] === 0x30 && signature.subarray(0, 24).includes(signedData)) return undefined
  if (signature.includes('-----BEGIN ')) return 'it is PEM, SWUpdate wants DER'
  if ([256, 384, 512].includes(signature.length))
    return 'it looks like a raw RSA signature, SWUpdate of Debian wants CMS'
  return 'it is not a CMS signature'
}

/** openssl's last lines say most; the reason is the last or second-to-last field of a line. */
function reasonIn(message: string): string {
  if (/unsuitable certificate purpose|unsupported certificate purpose/i.test(message)) {
    return 'its certificate is not for signing mail: it needs the extended key usage emailProtection'
  }
  const verdict = /Verify error: ?([^|]+)/i.exec(message)?.[1]
  const reasons = [...message.matchAll(/error:[0-9A-F]+:[^:|]*:[^:|]*:([^:|]+):/g)].map(([, reason]) => reason?.trim())
  return (verdict ?? reasons.at(-1) ?? message).trim()
}

/** Whether the PEM file `key` belongs to the certificate. Errors: Failure. */
export async function checkKey(key: string, certificate: X509Certificate, name: string): Promise<void> {
  const pem = await readFile(key)
  let mine: ReturnType<typeof createPublicKey>
  try {
    mine = createPublicKey(pem)
  } catch {
    return
  }
  if (!mine.equals(certificate.publicKey)) {
    throw new Failure(EXIT.usage, `${key} is not the key of the certificate ${name}`)
  }
}
