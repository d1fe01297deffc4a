import { keyLine, networkOf, passphraseLine, type Security, ssidOfHex } from './network.ts'
import { type Network, Unusable } from './wishes.ts'

type Row = readonly [name: string, value: string, line: number]
type Rows = readonly Row[]

interface Settings {
  /** Settings by group, in their order. */
  readonly groups: ReadonlyMap<string, Rows>
  /** The line of each group. */
  readonly starts: ReadonlyMap<string, number>
  /** Embedded PEM texts by name. */
  readonly pems: ReadonlyMap<string, string>
}

const SETTINGS = [
  ...['AutoConnect', 'Hidden', 'AlwaysRandomizeAddress', 'AddressOverride', 'TransitionDisable'],
  ...['DisabledTransitionModes', 'UseDefaultEccGroup'],
]
/** Names that a reason may quote: another name may be a password in the wrong place. */
const QUOTED = ['Passphrase', 'PreSharedKey', 'PasswordIdentifier', 'EAP-Method', 'EAP-Identity', ...SETTINGS]
/** What iwd itself computes from the passphrase; it does so again. */
const COMPUTED = /^SAE-PT-Group\d+$/
const EAP_METHODS = ['PEAP', 'TTLS', 'TLS', 'PWD']
const EAP_FILE = /^EAP-(TLS|TTLS|PEAP)-(CACert|ClientCert|ClientKey)$/
const PEM = /^(-----BEGIN [A-Z0-9 ]+-----\n[^-]+-----END [A-Z0-9 ]+-----(\n(?=-)|$))+$/
const PEM_LINE = /^(|-----(BEGIN|END) [A-Z0-9 ]+-----|[A-Za-z0-9+/]+={0,2})$/

/** Reads a file of iwd, such as `Home.psk` (iwd.network(5)). Errors: `Unusable`. Pure. */
export function readIwdFile(fileName: string, text: string): Network {
  const [, base = '', suffix = ''] = /^(.*)\.(psk|open|8021x)$/is.exec(fileName) ?? []
  const security = suffix.toLowerCase() as Security
  const ssid = base.startsWith('=') ? ssidOfHex(base.slice(1)) : Buffer.from(base.normalize('NFC'))
  const { groups, starts, pems } = parse(text)
  for (const group of groups.keys()) {
    if (/^(IPv4|IPv6|Network)$/.test(group))
      throw new Unusable(`[${group}] is not supported: the address comes from DHCP`)
    if (!['Security', 'Settings'].includes(group))
      throw new Unusable(`line ${starts.get(group)}: the group is unknown, and must be [Security] or [Settings]`)
  }
  const settings = groups.get('Settings') ?? []
  for (const [name, value, line] of settings) {
    if (!SETTINGS.includes(name)) throw new Unusable(`line ${line}: its name is unknown in [Settings]`)
    if (['AutoConnect', 'Hidden'].includes(name) && !/^(true|false|0|1)$/.test(value))
      throw new Unusable(`${name} must be true or false`)
  }
  const lines = SECURITY[security](groups.get('Security') ?? [], pems)
  const embedded = [...pems].map(([name, pem]) => `[@pem@${name}]\n${pem}\n`)
  const all = [
    ...section('Security', lines),
    ...section(
      'Settings',
      settings.map(([name, value]) => `${name}=${value}`),
    ),
    ...embedded,
  ]
  return networkOf(ssid, security, all.join(''))
}

const section = (name: string, lines: readonly string[]): readonly string[] =>
  lines.length === 0 ? [] : [`[${name}]\n`, ...lines.map(line => `${line}\n`)]

/** The lines of `[Security]`, for each kind of network. */
const SECURITY: Readonly<Record<Security, (rows: Rows, pems: ReadonlyMap<string, string>) => readonly string[]>> = {
  open(rows) {
    if (rows.length > 0) throw new Unusable('an open network has no [Security]: name the file .psk')
    return []
  },
  psk(rows) {
    const lines: string[] = []
    for (const [name, value, line] of rows) {
      if (name === 'Passphrase') lines.push(passphraseLine(unescaped(name, value)))
      else if (name === 'PreSharedKey') lines.push(keyLine(value.trim()))
      else if (name === 'PasswordIdentifier') lines.push(`${name}=${value}`)
      else if (!COMPUTED.test(name))
        throw new Unusable(`line ${line}: its name is unknown in [Security] of a .psk file`)
    }
    if (!lines.some(line => /^(Passphrase|PreSharedKey)=/.test(line)))
      throw new Unusable('it needs Passphrase= or PreSharedKey= in [Security]')
    return lines
  },
  '8021x'(rows, pems) {
    const method = rows.find(([name]) => name === 'EAP-Method')?.[1].trim()
    if (!method || !EAP_METHODS.includes(method))
      throw new Unusable(`EAP-Method in [Security] must be ${EAP_METHODS.join(', ')}`)
    for (const [name, value, line] of rows) {
      if (!name.startsWith('EAP-'))
        throw new Unusable(`line ${line}: its name is unknown in [Security] of a .8021x file`)
      if (!EAP_FILE.test(name) || /^\/data\/[^\s]+$/.test(value)) continue
      const pem = value.startsWith('embed:') ? pems.get(value.slice('embed:'.length)) : undefined
      if (pem === undefined)
        throw new Unusable(`${name} must be a file below /data, or "embed:" and the name of a [@pem@…]`)
    }
    return rows.map(([name, value]) => `${name}=${value}`)
  },
}

/** What a value means; a space at its end is more often an accident than part of a password. */
function unescaped(name: string, value: string): string {
  if (/[ \t]$/.test(value)) throw new Unusable(`${name} ends with a space: remove it, or write it as \\s`)
  return value.replaceAll(/\\(.?)/g, (_, code: string) => {
    const meant = { s: ' ', t: '\t', n: '\n', r: '\r', '\\': '\\' }[code]
    if (meant === undefined) throw new Unusable(`${name} has a backslash: write it as \\\\`)
    return meant
  })
}

/** iwd.network(5), "FILE FORMAT". */
function parse(text: string): Settings {
  const groups = new Map<string, Row[]>()
  const starts = new Map<string, number>()
  const pems = new Map<string, string>()
  const lines = text.split('\n')
  let current: Row[] | undefined
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i]!.trimStart()
    const at = `line ${i + 1}`
    if (line.trim() === '' || line.startsWith('#')) continue
    const pem = /^\[@pem@([^[\]]+)\]\s*$/.exec(line)?.[1]
    if (pem !== undefined) {
      const rest = lines.slice(i + 1).map(each => each.trim())
      const end = rest.findIndex(each => !PEM_LINE.test(each))
      const payload = rest.slice(0, end < 0 ? undefined : end)
      const found = payload.filter(each => each !== '').join('\n')
      if (!PEM.test(found)) throw new Unusable(`${at}: [@pem@…] needs a text in PEM, from its first line to its last`)
      pems.set(pem, found)
      i += payload.length
      continue
    }
    const group = /^\[([^[\]]+)\]\s*$/.exec(line)?.[1]
    if (group !== undefined) {
      current = groups.get(group) ?? []
      groups.set(group, current)
      starts.set(group, i + 1)
      continue
    }
    const [, name, value] = /^([A-Za-z0-9_-]+)\s*=\s*(.*)$/.exec(line) ?? []
    if (name === undefined) throw new Unusable(`${at} is neither [Group] nor Name=value`)
    const shown = QUOTED.includes(name) ? name : 'it'
    if (!current) throw new Unusable(`${at}: ${shown} belongs below a line such as [Security]`)
    if (current.some(([other]) => other === name)) throw new Unusable(`${at}: ${shown} is there twice`)
    current.push([name, value ?? '', i + 1])
  }
  return { groups, starts, pems }
}
