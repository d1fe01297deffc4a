import { basename } from 'node:path'

/** What gives a file away as secret; nothing is said about its content. */
const CONTENT: readonly [RegExp, string][] = [
  [/---- ?BEGIN [A-Z0-9 ]*PRIVATE KEY( BLOCK)? ?----/, 'a private key'],
  [/^PuTTY-User-Key-File-\d+:/m, 'an SSH key'],
  // WireGuard's own file, and systemd's form of it (systemd.netdev(5)).
  [/^\s*(PrivateKey|PresharedKey)\s*=\s*[A-Za-z0-9+/]{43}=/im, 'a WireGuard key'],
  [/SharedAccessKey\s*=\s*[A-Za-z0-9+/]{8}/, 'a connection string'],
  [/^\[Security\][^[]*^(Passphrase|PreSharedKey)\s*=/ms, 'a WLAN password'],
  // wpa_supplicant and NetworkManager, then hostapd.
  [/^\s*psk\s*=/m, 'a WLAN password'],
  [/^\s*(wpa_passphrase|wpa_psk|sae_password)\s*=/m, 'a WLAN password'],
]
const NAME: readonly [RegExp, string][] = [
  [/\.(psk|8021x)$/i, 'a WLAN password'],
  [/^id_(rsa|dsa|ecdsa|ed25519)(_sk)?$/, 'an SSH key'],
  [/^ssh_host_\w+_key$/, 'an SSH host key'],
  [/\.ppk$/i, 'an SSH key'],
  [/\.(p12|pfx|jks|keytab)$/i, 'a key store'],
]

/** Secrets are found in files up to this size: a program is not searched. */
const MAX_BYTES = 2 ** 20

/** What kind of secret a file of the root file system is by all appearance; undefined when it is none. Pure. */
export function secretIn(path: string, content: Buffer): string | undefined {
  const byName = NAME.find(([pattern]) => pattern.test(basename(path)))
  if (byName) return byName[1]
  if (content.length > MAX_BYTES) return undefined
  // Without its zeros UTF-16 reads as plain text.
  const text = content.toString('latin1').replaceAll('\0', '')
  return CONTENT.find(([pattern]) => pattern.test(text))?.[1]
}
