import type { Command } from 'commander'
import { connectionFields } from '../domain/connection-string.ts'
import { EXIT, Failure } from './failure.ts'
import { readInput, textOf } from './input.ts'

export interface LoginOptions {
  readonly login?: string
  readonly loginFile?: string
}

/** A service, by the environment variable that has its connection string. */
export const HUB = 'IOTHUB_CONNECTION_STRING'
export const PROVISIONING = 'DPS_CONNECTION_STRING'
type Variable = typeof HUB | typeof PROVISIONING
const WANTED = 'HostName=…;SharedAccessKeyName=…;SharedAccessKey=…'

export const CONNECTION_HELP = `
The hub’s connection string (a policy with "service connect") comes from --login, --login-file or the environment
variable ${HUB}, in this order. It is never shown. On a machine with other users, prefer the last two: --login is
visible in the list of processes.`

export const withLogin = (command: Command): Command =>
  command
    .option('--login <connection-string>', 'connection string of the hub, as for the Azure CLI')
    .option('--login-file <file>', 'file with the connection string')

/** The connection string of a service, checked as far as possible without the hub. Errors: Failure that never quotes it. */
export async function connectionString({ login, loginFile }: LoginOptions, variable: Variable = HUB): Promise<string> {
  const [text, from] = await found(login, loginFile, variable)
  const parts = new Map(connectionFields(text))
  if (parts.has('DeviceId')) {
    throw new Failure(EXIT.usage, `${from} is the connection string of a device; use one of the service: ${WANTED}`)
  }
  for (const name of ['HostName', 'SharedAccessKeyName', 'SharedAccessKey']) {
    if (!parts.get(name)) throw new Failure(EXIT.usage, `${from} has no ${name}; it must look like ${WANTED}`)
  }
  return text
}

async function found(
  login: string | undefined,
  file: string | undefined,
  variable: Variable,
): Promise<[string, string]> {
  if (login !== undefined) return [login.trim(), '--login']
  if (file !== undefined) {
    return [textOf(await readInput(file), file).trim(), file]
  }
  const text = process.env[variable]
  if (!text) throw new Failure(EXIT.usage, `no connection string: set ${variable}, or use --login or --login-file`)
  return [text.trim(), variable]
}
