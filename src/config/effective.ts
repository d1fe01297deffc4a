import { redact } from '../domain/redact.ts'
import { jsonText } from '../domain/terminal.ts'
import { type Config, secretsIn, settings } from './config.ts'
import { VARIABLES } from './proxies.ts'
import { valueAt } from './setting.ts'

/** One setting as it applies, with secrets masked. */
export interface Effective {
  /** As in the documentation: `piAdu.hub.caFile`, or a variable of the environment. */
  readonly name: string
  /** JSON that is safe on a terminal; undefined when the setting is absent and has no default value. */
  readonly json: string | undefined
  /** The file does not have the setting. */
  readonly isDefault: boolean
  /** What applies instead, where that is not a value. */
  readonly otherwise: string | undefined
}

/** Fields of a connection string that are not secret; others may be part of the key. */
const SHOWN = /^(HostName|DeviceId|ModuleId|GatewayHostName|SharedAccessKeyName|x509)=/

/** Every setting of `config`, in the order of the documentation. `file`: the JSON that it was read from. */
export function effective(config: Config, file: unknown): readonly Effective[] {
  const secrets = secretsIn(config)
  const row = (name: string, value: unknown, isDefault: boolean, otherwise?: string): Effective => {
    const json = value === undefined ? undefined : redact(jsonText(value), secrets)
    return { name, json, isDefault, otherwise }
  }
  return [
    ...settings().map(({ name, path, doc }) => {
      const value = valueAt(config, path)
      return row(
        name,
        value === undefined ? value : masked(name, value),
        valueAt(file, path) === undefined,
        doc.otherwise?.replaceAll('`', ''),
      )
    }),
    ...VARIABLES.map(({ name, of }) => {
      const value = config.proxies[of]
      return value === undefined || value.length === 0 ? row(name, undefined, true) : row(name, value, false)
    }),
  ]
}

/** A PIN is too short to be looked for in texts, so it is masked by its name. */
function masked(name: string, value: unknown): unknown {
  if (name === 'piAdu.page.pin') return '…'
  return name.endsWith('.connectionData') ? withoutKey(String(value)) : value
}

const withoutKey = (connection: string): string =>
  connection
    .split(';')
    .map(field => (SHOWN.test(field) ? field : field.replace(/=.*/s, '=…')))
    .join(';')
