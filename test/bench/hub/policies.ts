import { randomBytes } from 'node:crypto'
import { unauthorized } from './errors.ts'
import { expiryOf, isSignedBy, parseSas, resourceOf } from './sas.ts'

/** Shared access policies: who may do what over REST. Names and permissions are Azure's. */

export type Permission = 'RegistryRead' | 'RegistryWrite' | 'ServiceConnect'

const PERMISSIONS = {
  iothubowner: ['RegistryRead', 'RegistryWrite', 'ServiceConnect'],
  service: ['ServiceConnect'],
  registryRead: ['RegistryRead'],
} as const satisfies Record<string, readonly Permission[]>

export type PolicyName = keyof typeof PERMISSIONS
export type PolicyKeys = Readonly<Record<PolicyName, string>>

export const newKey = () => randomBytes(32).toString('base64')

export const newPolicyKeys = (): PolicyKeys => ({ iothubowner: newKey(), service: newKey(), registryRead: newKey() })

/** Throws HubError (401) unless the header is a valid token of a policy that has the permission. */
export function authorize(
  header: string | undefined,
  needed: Permission,
  keys: PolicyKeys,
  hosts: readonly string[],
): void {
  const token = parseSas(header ?? '')
  if (!token) throw unauthorized('no shared access signature')
  const resource = resourceOf(token)
  if (resource?.path !== '' || !hosts.includes(resource.host)) throw unauthorized('token of another resource')
  const policy = token.skn
  if (policy === undefined || !isPolicy(policy)) throw unauthorized('unknown policy')
  if (!isSignedBy(token, [keys[policy]])) throw unauthorized('wrong signature')
  if (expiryOf(token) <= Date.now()) throw unauthorized('token has expired')
  if (!(PERMISSIONS[policy] as readonly Permission[]).includes(needed)) {
    throw unauthorized(`policy ${policy} lacks ${needed}`)
  }
}

const isPolicy = (name: string): name is PolicyName => Object.hasOwn(PERMISSIONS, name)
