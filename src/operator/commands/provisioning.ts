import type { Command } from 'commander'
import { connectionString, HUB, type LoginOptions, PROVISIONING, withLogin } from '../connection.ts'
import { ProvisioningService } from '../factory/provisioning-service.ts'
import { EXIT, Failure } from '../failure.ts'
import { numberFrom } from './flags.ts'

/** What commands have in common that talk to the provisioning service. */
export interface ProvisioningFlags extends LoginOptions {
  /** Seconds. */
  readonly patience: number
  readonly json: boolean
}

export const withProvisioning = (command: Command): Command =>
  withLogin(command)
    .option(
      '--patience <seconds>',
      'how long to keep trying while the service is throttled or away',
      numberFrom(0),
      300,
    )
    .option('--json', 'print JSON', false)

/** Of a command that needs the hub too. */
export interface HubFlags {
  readonly hubLoginFile?: string
}

export const withHub = (command: Command): Command =>
  command.option('--hub-login-file <file>', 'file with the connection string of the hub')

/** The checked connection string of the hub. Errors: Failure. */
export async function hubConnection({ hubLoginFile }: HubFlags): Promise<string> {
  if (hubLoginFile === undefined && !process.env[HUB]) {
    throw new Failure(EXIT.usage, `no connection string of the hub: set ${HUB}, or use --hub-login-file`)
  }
  return await connectionString(hubLoginFile === undefined ? {} : { loginFile: hubLoginFile })
}

/** Does not contact the service yet. Errors: Failure. */
export async function provisioningService(
  options: ProvisioningFlags,
  onTrouble: (why: string) => void,
): Promise<ProvisioningService> {
  const patience = options.patience * 1000
  return new ProvisioningService(await connectionString(options, PROVISIONING), { patience, onTrouble })
}
