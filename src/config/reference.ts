import { REFERENCE_NAMES } from './sections/reference-file.ts'

/**
 * What happens to a setting: `taken`; `noEffect`, with a warning that names it; `x509`, refused with the connection type string;
 * `engine`, refused with a hint what to use instead.
 */
type Fate = 'taken' | 'noEffect' | 'x509' | 'engine'

const all = (fate: Fate, names: readonly string[]) => Object.fromEntries(names.map(name => [name, fate]))

/** Every setting of the reference agent's file, 1.0 to 1.3 (PROTOCOL.md, "du-config.json"), and our own section. */
export const SETTINGS: Readonly<Record<'top' | 'agent' | 'connectionSource', Readonly<Record<string, Fate>>>> = {
  top: {
    ...all('taken', [...REFERENCE_NAMES.top, 'piAdu']),
    ...all('noEffect', ['aduShellTrustedUsers', 'aduShellFolder', 'extensionsFolder']),
    ...all('noEffect', ['apiRequestFifoPath', 'idlePauseMilliseconds']),
  },
  agent: {
    ...all('taken', REFERENCE_NAMES.agent),
    ...all('noEffect', ['runas']),
  },
  connectionSource: {
    ...all('taken', REFERENCE_NAMES.connectionSource),
    ...all('x509', ['connectionX509CertFilePath', 'connectionX509PrivateKeyFilePath', 'connectionX509CaCertFilePath']),
    ...all('engine', ['opensslEngine']),
  },
}

const NO_ENGINES =
  'OpenSSL engines are not used: for a key in hardware, name a PEM file of a PKCS#11 or TPM key in connectionX509PrivateKeyFilePath'

export interface Review {
  /** `field: what is wrong`. Each stops the start. */
  readonly mistakes: readonly string[]
  readonly warnings: readonly string[]
}

type Members = Readonly<Record<string, unknown>>

/**
 * Finds what a schema cannot: settings that would silently do nothing, and placeholders that were not replaced. `sections`: the
 * names in our own section. Pure; never quotes a value.
 */
export function review(json: unknown, sections: readonly string[]): Review {
  const top = membersOf(json)
  const agents = Array.isArray(top.agents) ? top.agents : []
  const agent = membersOf(agents[0])
  const source = membersOf(agent.connectionSource)
  const levels = [
    ['', top, SETTINGS.top],
    ['agents.0.', agent, SETTINGS.agent],
    ['agents.0.connectionSource.', source, SETTINGS.connectionSource],
  ] as const
  const found = levels.flatMap(([path, members, known]) =>
    Object.keys(members).map(name => ({ field: path + name, name, level: path, known, fate: known[name] })),
  )
  const unknown = found.filter(({ name, fate }) => fate === undefined && !/^[_$#/]/.test(name))
  const misspelt = unknown.flatMap(({ field, name, level, known }) => {
    const meant = Object.keys(known).find(each => bare(each) === bare(name))
    if (meant !== undefined) return [`${field}: must be spelled ${meant}`]
    const ours = level === '' ? sections.find(each => bare(each) === bare(name)) : undefined
    return ours === undefined ? [] : [`${field}: belongs in the section piAdu, as piAdu.${ours}`]
  })
  const x509 = found.filter(({ fate }) => fate === 'x509' && /^(string|ais)$/i.test(String(source.connectionType)))
  const engine = found.filter(({ fate }) => fate === 'engine')
  const without = found.filter(({ fate }) => fate === 'noEffect')
  const strange = unknown.filter(({ field }) => !misspelt.some(text => text.startsWith(`${field}: `)))
  return {
    mistakes: [
      ...misspelt,
      ...x509.map(
        ({ field }) =>
          `${field}: has no effect with the connection type ${String(source.connectionType).toLowerCase()}`,
      ),
      ...engine.map(({ field }) => `${field}: ${NO_ENGINES}`),
      ...placeholders(json, ''),
    ],
    warnings: [
      ...(without.length > 0 ? [`${listed(without)}: no effect in this agent`] : []),
      ...(strange.length > 0 ? [`${listed(strange)}: unknown setting, no effect`] : []),
      ...(agents.length > 1 ? [`agents: only the first of ${agents.length} is used`] : []),
      ...strangeNames(top, agent),
    ],
  }
}

/** Names in `compatPropertyNames` that the device has no value for: the service could never match them. */
function strangeNames({ compatPropertyNames }: Members, { additionalDeviceProperties }: Members): string[] {
  if (typeof compatPropertyNames !== 'string') return []
  const known = ['manufacturer', 'model', ...Object.keys(membersOf(additionalDeviceProperties))]
  const missing = compatPropertyNames.split(',').filter(name => !known.includes(name.trim()))
  return missing.map(name => `compatPropertyNames: ${JSON.stringify(name)} is not a property of this device`)
}

/** Placeholders of templates: `%%NAME%%`, `<Place your … here>`, `[NOTE] …`. */
const PLACEHOLDER = /%%[^%]*%%|<[^<>]*>|^\[NOTE\]/i

function placeholders(value: unknown, path: string): string[] {
  if (typeof value === 'string') return PLACEHOLDER.test(value) ? [`${path}: is still a placeholder`] : []
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([name, each]) => placeholders(each, path === '' ? name : `${path}.${name}`))
}

const listed = (found: readonly { readonly field: string }[]): string => found.map(({ field }) => field).join(', ')

/** The name without case and separators, which people often get wrong. */
const bare = (name: string): string => name.toLowerCase().replace(/[-_ .]/g, '')

const membersOf = (value: unknown): Members =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Members) : {}
