import { createPrivateKey, X509Certificate } from 'node:crypto'
import { isPreseed, readPreseed } from '../../preseed/read.ts'
import { readToml } from '../../preseed/toml.ts'

/** What may lie on a boot partition for one device, as the system moves it at its first boot (image/README.md). */

/** The system refuses a larger file. */
export const MAX_BYTES = 2 ** 20

export const OVERLAYS = 'overlays'

const CERTIFICATES = ['hub-ca.pem', 'content-ca.pem', 'swupdate.pem', 'device.pem']
export const CARD_FILES: readonly string[] = [
  ...CERTIFICATES,
  ...['du-config.json', 'device.key', 'dps.key', 'swupdate.key', 'authorized_keys', 'extra.env', 'usercfg.txt'],
]

/** Why a file of this path has no place on a card; undefined when it has. Pure. */
export function nameFlaw(path: string, secrets: readonly string[]): string | undefined {
  if (path.startsWith(`${OVERLAYS}/`)) {
    return /^overlays\/[\w.+-]{1,60}\.dtbo$/.test(path) ? undefined : 'an overlay has a name like my-board.dtbo'
  }
  if (/^factory-reset(\.txt)?$/i.test(path)) return 'a new card has nothing to reset'
  const known = [...CARD_FILES, ...secrets]
  // Those for network and first start are looked at together.
  if (known.includes(path) || isPreseed(path)) return NOT_ON_FAT.test(path) ? hexNameOf(path) : undefined
  const meant = known.find(name => name.toLowerCase() === path.toLowerCase())
  if (meant !== undefined) return `its name must be ${meant}`
  return 'the system takes no file of this name from a card, and no layer of the image names it in secrets.txt'
}

/** FAT has none of these, and mtools(1) writes nothing beyond 16 bits, such as emoji. */
const NOT_ON_FAT = /["*:<>?|\\\p{Cc}\u{10000}-\u{10ffff}]/u

function hexNameOf(path: string): string {
  const at = path.lastIndexOf('.')
  return `a card cannot have a file of this name: name it =${Buffer.from(path.slice(0, at)).toString('hex')}${path.slice(at)}`
}

const HEX = '[0-9a-fA-F]'
const FORMS: Readonly<Record<string, readonly [RegExp, string]>> = {
  'swupdate.key': [
    new RegExp(`^(${HEX}{32}|${HEX}{48}|${HEX}{64})\\s+${HEX}{32}\\s*$`),
    'it is not a line "KEY VECTOR" in hexadecimal digits',
  ],
  'dps.key': [
    /^([A-Za-z0-9+/]{4}){5,21}([A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)\s*$/,
    'it is not a key of 16 to 64 bytes in base64',
  ],
  'device.key': [
    /-----BEGIN (([A-Z0-9]+ )*PRIVATE KEY|PKCS#11 PROVIDER URI)-----[\s\S]*-----END /,
    'it has no private key in PEM',
  ],
  authorized_keys: [/^[^#\n]*\b(ssh-|ecdsa-|sk-)[\w@.-]+ [A-Za-z0-9+/]{20}/m, 'it has no SSH key'],
}

export interface OverlayPlace {
  /** For a path in lower case, such as `overlays/clock.dtbo`. */
  readonly isThere: (path: string) => boolean
  /** Who should have had it, for the sentence. */
  readonly nobody: string
  /** Whether an earlier line may have an overlay. */
  readonly hasOverlay: boolean
}

/** What is wrong with those lines of config.txt about overlays that the firmware passes over without a word; a sentence each. Pure. */
export function overlayFlaws(lines: string, { isThere, nobody, hasOverlay }: OverlayPlace): readonly string[] {
  const overlay = /^dtoverlay=([^,\s]+)/m
  const before = hasOverlay ? '' : lines.slice(0, overlay.exec(lines)?.index)
  const params = [...before.matchAll(/^dtparam=[^,\s]+/gm)].map(
    ([line]) =>
      `${line}: no dtoverlay= comes before it, and the device trees of Debian have no parameters of their own`,
  )
  const missing = [...lines.matchAll(new RegExp(overlay, 'gm'))].flatMap(([line, name]) => {
    const path = `${OVERLAYS}/${name!.replace(/\.dtbo$/, '')}.dtbo`
    return isThere(path.toLowerCase()) ? [] : [`${line}: ${nobody} ${path}`]
  })
  return [...params, ...missing]
}

/** Why the system would leave a file of this content on the boot partition; undefined when it takes it. Pure. */
export function contentFlaw(path: string, content: Buffer): string | undefined {
  if (isPreseed(path)) return undefined
  if (content.length === 0) return 'it is empty'
  if (content.subarray(0, 512).every(byte => byte === 0)) return 'it begins with zeros'
  if (CERTIFICATES.includes(path)) {
    const flaw = certificateFlaw(content)
    if (flaw) return flaw
  }
  const form = FORMS[path]
  return form && !form[0].test(content.toString('latin1')) ? form[1] : undefined
}

function certificateFlaw(content: Buffer): string | undefined {
  if (!content.includes('-----BEGIN CERTIFICATE-----')) return 'it has no PEM certificate'
  try {
    new X509Certificate(content)
    return undefined
  } catch {
    return 'its certificate cannot be read'
  }
}

/** What the system would refuse of the files for network and first start, as it reads them; a sentence each. Pure. */
export function preseedFlaws(contents: ReadonlyMap<string, Buffer>): readonly string[] {
  const files = [...contents].filter(([name]) => isPreseed(name)).map(([name, content]) => ({ name, content }))
  // Whether a country exists is in the image.
  const { refused } = readPreseed(files, undefined, readToml, contents.get('authorized_keys')?.toString())
  return refused.map(({ name, why }) => `${name}: ${why}`)
}

/** Whether `device.pem` and `device.key` belong together, as far as the key can be read here. Pure. */
export function pairFlaw(contents: ReadonlyMap<string, Buffer>): string | undefined {
  const [chain, key] = [contents.get('device.pem'), contents.get('device.key')]
  if (!chain || !key) return undefined
  try {
    const belongs = new X509Certificate(chain).checkPrivateKey(createPrivateKey(key))
    return belongs ? undefined : 'device.key does not belong to device.pem'
  } catch {
    // Encrypted, or held by a TPM or a token.
    return undefined
  }
}
