import { type Command, InvalidArgumentError, Option } from 'commander'
import type { Order } from '../../control/protocol.ts'
import { GATE_NAMES, type GateName } from '../../domain/gate.ts'
import type { OrderOptions } from './command.ts'
import { seconds } from './seconds.ts'

const EXIT =
  '\nExit code: 0 done, 1 refused with the reason, 69 the agent does not run or does not answer, 77 this user may not order it.'

/** The commands that order something of the running agent, through its control socket. */
export function addOrders(program: Command, defaultConfig: string): void {
  const command = (name: string, description: string): Command =>
    program
      .command(name)
      .description(description)
      .option('--config <file>', 'configuration file', defaultConfig)
      .option('--json', 'the answer as one JSON object', false)
      .addHelpText('after', EXIT)
  const send = async (options: OrderOptions, order: Order): Promise<void> =>
    void (await (await import('./command.ts')).order(options, order))

  for (const [name, description] of PLAIN) {
    command(name, description).action(async (options: OrderOptions) => send(options, { do: name }))
  }

  command('install', 'install a local update: a folder with a signed deployment, or a bundle where the owner allows it')
    .argument('<target>', 'the folder, a .swu file, or the https URL of a bundle')
    .option('--no-watch', 'return as soon as it has begun; the default is to follow it to its result or to the reboot')
    .action(async (target: string, options: OrderOptions & { watch: boolean }) =>
      (await import('./install.ts')).install(target, options),
    )

  command('lock', 'keep updates from going on, for a time; the lock stays when this command has ended')
    .argument('<name>', 'whose lock it is')
    .requiredOption('--for <time>', 'when it ends by itself: 90s, 15min, 2h, 1d; a week at most')
    .option('--why <text>', 'the reason, which is shown wherever an update waits for it')
    .addOption(
      new Option('--gate <gate>', 'what it closes; may be repeated; default: everything')
        .choices(GATE_NAMES)
        .argParser(gates),
    )
    .action(async (name: string, options: OrderOptions & { for: string; why?: string; gate?: GateName[] }) => {
      const { why, gate } = options
      const lock = { do: 'lock', name, seconds: seconds(options.for), stay: true } as const
      await send(options, { ...lock, ...(why === undefined ? {} : { why }), ...(gate ? { gates: gate } : {}) })
    })

  command('unlock', 'remove a lock, whoever took it')
    .argument('<name>', 'as `pi-adu status` shows it')
    .action(async (name: string, options: OrderOptions) => send(options, { do: 'unlock', name }))

  command('identify', 'let the lights show which device this is')
    .option('--for <time>', 'how long: 90s, 15min; an hour at most', '60s')
    .action(async (options: OrderOptions & { for: string }) =>
      send(options, { do: 'identify', seconds: seconds(options.for) }),
    )
}

/** For an option that may be repeated. */
function gates(value: string, more: readonly GateName[] = []): readonly GateName[] {
  const gate = GATE_NAMES.find(each => each === value)
  if (!gate) throw new InvalidArgumentError(`The gates are ${GATE_NAMES.join(', ')}.`)
  return [...more, gate]
}

const PLAIN = [
  ['consent', 'consent to the update that waits for it'],
  ['cancel', 'end the running deployment on this device; the cloud sees that it was cancelled here'],
  ['retry', 'begin the deployment that failed once more'],
  ['commit', 'commit the new system on trial at once, without waiting for its health checks'],
  ['rollback', 'restart into the other system, on trial, if it was committed once'],
] as const
