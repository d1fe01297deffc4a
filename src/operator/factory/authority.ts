import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { EXIT, Failure, messageOf } from '../failure.ts'
import { readInput, textOf } from '../input.ts'
import { runProgram } from '../program.ts'
import { encryptedKey, firstCertificate, newPrivateKey, requestFor, type Signer, signRequest } from './certificates.ts'

/** A small offline authority in a folder: a root that signs one intermediate, which signs the devices. */

const DAY = 86_400_000
/** Devices without a clock may be a little behind. */
const BEFORE = DAY

export interface Authority extends Signer {
  readonly dir: string
  /** The intermediate's last day. */
  readonly until: Date
  /** PEM; absent when it is elsewhere. */
  readonly root: string | undefined
}

export interface AuthorityOptions {
  readonly name: string
  readonly years: number
  readonly passphraseFile?: string | undefined
}

/** Creates the folder, complete or not at all. Errors: Failure when it exists. */
export async function createAuthority(dir: string, { name, years, passphraseFile }: AuthorityOptions): Promise<void> {
  const found = await readdir(dir).catch(() => [])
  if (found.length > 0) throw new Failure(EXIT.usage, `${dir} is not empty; an authority needs a folder of its own`)
  if (passphraseFile !== undefined) await readInput(passphraseFile)
  const now = Date.now()
  const from = new Date(now - BEFORE)
  const until = new Date(now + years * 365.25 * DAY)

  const [rootKey, key] = [newPrivateKey('P-384'), newPrivateKey('P-384')]
  const rootName = `${name} root`
  const root = await signRequest(await requestFor(rootKey, rootName), 'root', { from, until }, { key: rootKey })
  // Beside the folder, also when its name ends with a slash.
  const work = `${resolve(dir)}.new-${process.pid}`
  await rm(work, { recursive: true, force: true })
  await mkdir(work, { recursive: true, mode: 0o700 })
  try {
    const save = (file: string, text: string, mode = 0o644) => writeFile(join(work, file), text, { mode, flush: true })
    const locked = async (text: string) =>
      passphraseFile === undefined ? text : await encryptedKey(text, passphraseFile)
    await save('root.key', await locked(rootKey), 0o600)
    await save('root.pem', root)
    const signer = { certificate: root, keyFile: join(work, 'root.key'), passphraseFile }
    const certificate = await signRequest(await requestFor(key, name), 'intermediate', { from, until }, { signer })
    await save('intermediate.key', await locked(key), 0o600)
    await save('intermediate.pem', certificate)
    // An empty folder may stand in the way.
    await rename(work, dir)
  } catch (error) {
    await rm(work, { recursive: true, force: true })
    if (error instanceof Failure) throw error
    throw new Failure(EXIT.unavailable, `cannot write ${dir}: ${messageOf(error)}`, { cause: error })
  }
}

/** Reads the intermediate. The root's key is not needed, and may be elsewhere. Errors: Failure. */
export async function openAuthority(dir: string, passphraseFile?: string): Promise<Authority> {
  const file = join(dir, 'intermediate.pem')
  const certificate = textOf(await readInput(file), file)
  const keyFile = join(dir, 'intermediate.key')
  const key = textOf(await readInput(keyFile), keyFile)
  if (/ENCRYPTED/.test(key) && passphraseFile === undefined) {
    throw new Failure(EXIT.usage, `${keyFile} is encrypted: pass --passphrase-file`)
  }
  const { validTo } = firstCertificate(certificate, file)
  const root = await readFile(join(dir, 'root.pem'), 'utf8').catch(() => undefined)
  return { dir, certificate, root, keyFile, passphraseFile, until: new Date(validTo) }
}

/**
 * A device's certificate with the intermediate behind it, PEM. Errors: Failure, also when it would outlive the intermediate:
 * then the device would fail before its certificate says so.
 */
export async function certify(authority: Authority, request: string, days: number): Promise<string> {
  const now = Date.now()
  const until = new Date(now + days * DAY)
  if (until > authority.until) {
    const last = authority.until.toISOString().slice(0, 10)
    throw new Failure(EXIT.usage, `--days ${days} goes beyond the intermediate, which ends on ${last}`)
  }
  const from = new Date(now - BEFORE)
  const leaf = await signRequest(request, 'device', { from, until }, { signer: authority })
  return leaf + (authority.certificate.endsWith('\n') ? authority.certificate : `${authority.certificate}\n`)
}

/** The common name that a request (PEM) asks for. Errors: Failure that names the file. */
export async function nameRequested(request: string, file: string): Promise<string> {
  const options = ['-noout', '-subject', '-nameopt', 'multiline,utf8,-esc_msb']
  const said = await runProgram(['openssl', 'req', ...options], request).catch(cause => {
    throw new Failure(EXIT.usage, `${file} is not a certificate request in PEM`, { cause })
  })
  const name = /commonName\s*=\s*(.*)/.exec(said.toString())?.[1]
  if (!name) throw new Failure(EXIT.usage, `${file}: the request has no common name`)
  return name
}
