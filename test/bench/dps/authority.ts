import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { newPrivateKey, requestFor, signRequest } from '../../../src/operator/factory/certificates.ts'

/** A key and the certificates that prove it, PEM. */
export interface Credential {
  readonly key: string
  /** The leaf, then its intermediates, without the root: what a client sends. */
  readonly cert: string
}

export interface Life {
  /** Default: a minute ago. */
  readonly from?: Date
  /** Default: in a day. */
  readonly until?: Date
}

export interface IssuerOptions extends Life {
  /** Absent: it signs itself. */
  readonly parent?: Issuer
  /** Of its key and of those that it makes; default P-256. */
  readonly curve?: Curve
}

type Curve = 'P-256' | 'P-384'

/** A certificate authority in a folder, for certificates of devices. */
export class Issuer {
  /** Its own certificate, PEM. */
  readonly certificate: string
  /** Upwards from its own certificate to the root, PEM. */
  readonly path: readonly string[]
  readonly #dir: string
  readonly #curve: Curve

  private constructor(dir: string, curve: Curve, path: readonly string[]) {
    this.#dir = dir
    this.#curve = curve
    this.path = path
    this.certificate = path[0]!
  }

  /** The one in `dir`; made if there is none. */
  static async open(dir: string, name: string, { parent, curve = 'P-256', ...life }: IssuerOptions = {}) {
    const file = join(dir, 'path.json')
    const stored = await readFile(file, 'utf8').catch(() => undefined)
    if (stored !== undefined) return new Issuer(dir, curve, JSON.parse(stored))
    await rm(dir, { recursive: true, force: true })
    await mkdir(dir, { recursive: true, mode: 0o700 })
    const key = newPrivateKey(curve)
    const request = await requestFor(key, name)
    const own = parent
      ? await parent.sign(request, life, 'intermediate')
      : await signRequest(request, 'root', datesOf(life), { key })
    const path = [own, ...(parent?.path ?? [])]
    await writeFile(join(dir, 'ca.key'), key, { mode: 0o600 })
    await writeFile(file, JSON.stringify(path))
    return new Issuer(dir, curve, path)
  }

  /** The certificate (PEM) for a request (PEM). Rejects when the request's signature is wrong. */
  sign(request: string, life: Life = {}, kind: 'intermediate' | 'device' = 'device'): Promise<string> {
    const signer = { certificate: this.certificate, keyFile: join(this.#dir, 'ca.key') }
    return signRequest(request, kind, datesOf(life), { signer })
  }

  /** A new key with its certificate. */
  async issue(commonName: string, life: Life = {}): Promise<Credential> {
    const key = newPrivateKey(this.#curve)
    const leaf = await this.sign(await requestFor(key, commonName), life)
    return { key, cert: [leaf, ...this.path.slice(0, -1)].join('') }
  }
}

/** A key whose certificate signs itself. */
export async function selfSignedDevice(commonName: string, life: Life = {}): Promise<Credential> {
  const key = newPrivateKey('P-256')
  return { key, cert: await signRequest(await requestFor(key, commonName), 'device', datesOf(life), { key }) }
}

function datesOf({ from = new Date(Date.now() - 60_000), until = new Date(Date.now() + 86_400_000) }: Life) {
  return { from, until }
}
