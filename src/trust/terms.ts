import type { UpdateId, UpdateManifest } from '../domain/deployment.ts'
import { AgentError } from '../domain/errors.ts'
import type { Hosts } from '../domain/hosts.ts'
import type { Checks } from './checks.ts'
import { compare } from './compatibility.ts'
import type { KeyRing } from './keys.ts'

/** The device's terms that a deployment is checked against. */
export interface Terms {
  readonly ring: KeyRing
  readonly compatibility: 'enforce' | 'warn' | 'off'
  /** Properties that this device reports; undefined: unknown, not compared. */
  readonly properties: Readonly<Record<string, string>> | undefined
  /** Accepted providers, as in the update id; empty or undefined: all. */
  readonly providers?: readonly string[] | undefined
  /** Allowed hosts for files; undefined: not compared. */
  readonly hosts?: Hosts | undefined
}

/** The service signs for all its customers with the same keys, so a good signature does not say whose update it is. */
export function checkProvider({ provider }: UpdateId, allowed: readonly string[] = [], checks: Checks): void {
  if (allowed.length === 0) {
    checks.note('provider', 'skip', `${provider}; trust.providers names none`)
  } else if (allowed.includes(provider)) {
    checks.note('provider', 'pass', provider)
  } else {
    checks.run('provider', () => {
      throw new AgentError('PROVIDER', `the provider "${provider}" is not one of ${allowed.join(', ')}`)
    })
  }
}

export function checkCompatibility(
  { compatibility }: Pick<UpdateManifest, 'compatibility'>,
  { compatibility: mode, properties }: Terms,
  checks: Checks,
) {
  if (mode === 'off' || properties === undefined || compatibility.length === 0) {
    return checks.note('compatibility', 'skip', compatibility.length === 0 ? 'the manifest names none' : 'not compared')
  }
  const wanted = JSON.stringify(compatibility).slice(0, 200)
  const match = compare(compatibility, properties)
  if (match === 'match') return checks.note('compatibility', 'pass', wanted)
  if (match === 'unknown') {
    return checks.note('compatibility', 'warn', `the update is for ${wanted}, and this device has none of these`)
  }
  const message = `the update is for ${wanted}, and this device is ${JSON.stringify(properties).slice(0, 200)}`
  if (mode === 'warn') return checks.note('compatibility', 'warn', message)
  checks.run('compatibility', () => {
    throw new AgentError('COMPATIBILITY', message)
  })
}
