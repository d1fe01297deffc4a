import { join } from 'node:path'
import type { Command } from 'commander'
import { certify, createAuthority, nameRequested, openAuthority } from '../factory/authority.ts'
import { firstCertificate, thumbprintOf } from '../factory/certificates.ts'
import { checkedRegistrationId } from '../factory/names.ts'
import { EXIT, Failure } from '../failure.ts'
import { readInput, textOf } from '../input.ts'
import { print, writeNew } from '../output.ts'
import { wholeNumber } from './flags.ts'

interface CreateOptions {
  readonly name: string
  readonly years: number
  readonly passphraseFile?: string
  readonly json: boolean
}

interface SignOptions {
  readonly csr: string
  readonly out: string
  readonly days: number
  readonly passphraseFile?: string
  readonly json: boolean
}

const CREATE_HELP = `
Example:
  pi-adu-operator ca create factory-ca --name "Contoso devices"
Afterwards:
  root.key           take it off this machine; it is needed again only for another intermediate
  root.pem           register it at the hub or as a certificate of the provisioning service
  intermediate.key   signs devices (ca sign, enrol --x509)
  intermediate.pem   is sent by each device, behind its own certificate
`

const SIGN_HELP = `
Example:
  pi-adu-operator ca sign factory-ca --csr pi-0001.csr --out pi-0001.pem
The common name of the request becomes the registration id (or the device id at a hub). The result has the device's certificate
first and the intermediate behind it: the chain that the device sends.
`

export const DAYS = 730

export function addCa(program: Command): void {
  const ca = program
    .command('ca')
    .description('a small offline authority for the certificates of devices, with openssl')
  ca.command('create')
    .description('creates a root and an intermediate in a new folder')
    .argument('<folder>', 'must be absent or empty')
    .requiredOption('--name <text>', 'common name of the intermediate')
    .option('--years <count>', 'life of both', wholeNumber(1, 30), 20)
    .option('--passphrase-file <file>', 'encrypt both keys with the first line of this file')
    .option('--json', 'print JSON', false)
    .addHelpText('after', CREATE_HELP)
    .action(create)
  ca.command('sign')
    .description('signs the certificate request of one device')
    .argument('<folder>', 'of ca create')
    .requiredOption('--csr <file>', 'request in PEM')
    .requiredOption('--out <file>', 'where the chain goes; a new file')
    .option('--days <count>', 'life of the certificate', wholeNumber(1), DAYS)
    .option('--passphrase-file <file>', 'of the intermediate’s key')
    .option('--json', 'print JSON', false)
    .addHelpText('after', SIGN_HELP)
    .action(sign)
}

async function create(folder: string, { json, ...options }: CreateOptions): Promise<void> {
  if (!/^[\w .,()'-]{1,59}$/.test(options.name)) {
    throw new Failure(EXIT.usage, "--name has 1 to 59 letters, digits, blanks and . , ( ) ' - _")
  }
  await createAuthority(folder, options)
  const files = ['root.key', 'root.pem', 'intermediate.key', 'intermediate.pem'].map(name => join(folder, name))
  print(json, { files }, [...files, 'Take root.key off this machine now.'])
}

async function sign(folder: string, options: SignOptions): Promise<void> {
  const { csr, out, days, passphraseFile, json } = options
  const request = textOf(await readInput(csr), csr)
  const name = await nameRequested(request, csr)
  checkedRegistrationId(name, `${csr}: the common name ${JSON.stringify(name)}`, true)
  const chain = await certify(await openAuthority(folder, passphraseFile), request, days)
  await writeNew(out, chain)
  const leaf = firstCertificate(chain, out)
  const expires = new Date(leaf.validTo).toISOString()
  const thumbprint = thumbprintOf(leaf)
  print(json, { file: out, commonName: name, thumbprint, expires }, [
    `${out}  CN=${name}`,
    `thumbprint  ${thumbprint}`,
    `expires     ${expires}`,
  ])
}
