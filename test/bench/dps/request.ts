import { execa } from 'execa'
import { invalidArgument } from '../hub/errors.ts'

/** A certificate request (base64 of DER) as PEM. Throws HubError (400): not a request, wrong signature, another name. */
export async function checkedRequest(csr: unknown, registrationId: string): Promise<string> {
  if (typeof csr !== 'string' || csr.length > 8192 || !/^[A-Za-z0-9+/]+={0,2}$/.test(csr)) {
    throw invalidArgument('csr is not the base64 of a PKCS#10 request')
  }
  const lines = csr.match(/.{1,64}/g)!.join('\n')
  const pem = `-----BEGIN CERTIFICATE REQUEST-----\n${lines}\n-----END CERTIFICATE REQUEST-----\n`
  const options = ['req', '-verify', '-noout', '-subject', '-nameopt', 'multiline,utf8']
  const { exitCode, stdout, stderr } = await execa('openssl', options, { input: pem, reject: false })
  if (exitCode !== 0 || !/verify OK/.test(stderr + stdout)) throw invalidArgument('csr: not a request, or not signed')
  const name = /commonName\s*=\s*(.*)/.exec(stdout)?.[1]
  if (name?.toLowerCase() !== registrationId) throw invalidArgument('csr: its common name is not the registration id')
  return pem
}

/** Base64 of the DER of each certificate, as answers carry them. */
export const derOf = (pem: string) => pem.replace(/-----[A-Z ]+-----|\s/g, '')
