import { readFile } from 'node:fs/promises'
import type { Command } from 'commander'
import { EXIT, Failure, messageOf } from './failure.ts'

export interface LoginOptions {
  readonly login?: string
  readonly loginFile?: string
}

const VARIABLE = 'IOTHUB_CONNECTION_STRING'
const WANTED = 'HostName=…;SharedAccessKeyName=…;SharedAccessKey=…'

export const CONNECTION_HELP = `
The hub’s connection string (a policy with "service connect") comes from --login, --login-file or the environment
variable ${VARIABLE}, in this order. It is never shown. On a machine with other users prefer the last two: --login can
be seen in the list of processes.`

export const withLogin = (command: Command): Command =>
  command
    .option('--login <connection-string>', 'connection string of the hub, as the Azure CLI takes it')
    .option('--login-file <file>', 'file with the connection string')

/** The connection string, checked as far as can be without the hub. Errors: Failure that never quotes it. */
export async function connectionString({ login, loginFile }: LoginOptions): Promise<string> {
  const [text, from] = await found(login, loginFile)
  const parts = new Map(
    text.split(';').map(part => [part.slice(0, part.indexOf('=')), part.slice(part.indexOf('=') + 1)] as const),
  )
  if (parts.has('DeviceId')) {
    throw new Failure(EXIT.usage, `${from} is the connection string of a device; needed is one of the hub: ${WANTED}`)
  }
  for (const name of ['HostName', 'SharedAccessKeyName', 'SharedAccessKey']) {
    if (!parts.get(name)) throw new Failure(EXIT.usage, `${from} has no ${name}; it must look like ${WANTED}`)
  }
  return text
}

async function found(login: string | undefined, file: string | undefined): Promise<[string, string]> {
  if (login !== undefined) return [login.trim(), '--login']
  if (file !== undefined) {
    const text = await readFile(file, 'utf8').catch(cause => {
      throw new Failure(EXIT.usage, `cannot read ${file}: ${messageOf(cause)}`, { cause })
    })
    return [text.trim(), file]
  }
  const text = process.env[VARIABLE]
  if (!text) throw new Failure(EXIT.usage, `no connection string: set ${VARIABLE}, or use --login or --login-file`)
  return [text.trim(), VARIABLE]
}
