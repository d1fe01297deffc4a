import { ConfigError } from '../domain/errors.ts'
import { MIN_KEY_BITS, rsaKey } from './keys.ts'
import type { Anchors } from './root-key-package.ts'
import { PRODUCTION_ROOT_KEYS, type RootKey } from './root-keys.ts'

/** Errors: ConfigError for a key that could never verify anything. */
export function anchorsOf(configured: readonly RootKey[]): Anchors {
  for (const { kid, n, e } of configured) {
    if (!rsaKey(n, e))
      throw new ConfigError(`root key ${kid}: n and e are not an RSA key of at least ${MIN_KEY_BITS} bits`)
  }
  return { builtIn: PRODUCTION_ROOT_KEYS, configured }
}
