import { idFlaw, isHost } from './hub-names.ts'

/** How the device authenticates: with a key in the connection string, or with a certificate in files. */
export type ConnectionType = 'string' | 'X509'

const PROOF = { string: ['SharedAccessKey', 'SharedAccessKeyName'], X509: ['x509'] } as const
const TAKEN = ['HostName', 'DeviceId', 'ModuleId', 'GatewayHostName']
const FORM = {
  string: '"HostName=…;DeviceId=…;SharedAccessKey=…", of the device',
  X509: '"HostName=…;DeviceId=…;x509=true"',
}

/** Names and values of a connection string, `Name=value;…`, unchecked. */
export function connectionFields(text: string): readonly (readonly [string, string])[] {
  const parts = text.split(';').filter(part => part !== '')
  return parts.map(part => [part.split('=', 1)[0] ?? '', part.slice(part.indexOf('=') + 1)])
}

/** What is wrong with a device's connection string; undefined when nothing is. Never quotes it. */
export function connectionFlaw(data: string, type: ConnectionType = 'string'): string | undefined {
  const parts = connectionFields(data)
  const fields = new Map(parts)
  if (fields.has('SharedAccessSignature')) return 'has a SharedAccessSignature, which ends: must have a SharedAccessKey'
  if (fields.has('x509') && fields.has('SharedAccessKey')) return 'has both x509 and SharedAccessKey: must have one'
  if (type === 'string' && fields.has('x509')) return 'has x509: connectionType must be "X509"'
  if (type === 'X509' && fields.has('SharedAccessKey')) return 'has a SharedAccessKey: connectionType must be "string"'
  if (!/^(true)?$/i.test(fields.get('x509') ?? '')) return 'has an x509 that is not "true"'
  const needs = type === 'string' ? ['HostName', 'DeviceId', 'SharedAccessKey'] : ['HostName', 'DeviceId']
  const missing = needs.find(name => !fields.get(name))
  if (missing) return `has no ${missing}: must be ${FORM[type]}`
  if (fields.size < parts.length) return 'has a field twice'
  // An unknown name is not quoted, because it could be a part of the key.
  const taken: readonly string[] = [...TAKEN, ...PROOF[type]]
  if ([...fields.keys()].some(name => !taken.includes(name))) return `has a field that is none of ${taken.join(', ')}`
  for (const name of ['HostName', 'GatewayHostName']) {
    const host = fields.get(name)
    if (host === undefined || isHost(host)) continue
    const why = host.includes('://') ? 'must be a host name alone, without https://' : 'must be a host name'
    return `has a ${name} that is none: it ${why}, like my-hub.azure-devices.net`
  }
  for (const name of ['DeviceId', 'ModuleId']) {
    const id = fields.get(name)
    const flaw = id === undefined ? undefined : idFlaw(id)
    if (flaw) return `has a ${name} ${flaw}`
  }
  if (type === 'string' && !/^[A-Za-z0-9+/]+={0,2}$/.test(fields.get('SharedAccessKey') ?? ''))
    return 'has a SharedAccessKey that is not base64'
  return undefined
}
