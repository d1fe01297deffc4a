import { existsSync } from 'node:fs'
import { mkdir, realpath } from 'node:fs/promises'
import { isIP } from 'node:net'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Command, InvalidArgumentError } from 'commander'
import { commandLine, EXIT_USAGE } from '../../src/cli/command-line.ts'
import { UsageError } from '../../src/domain/errors.ts'
import { onOneLine } from '../../src/domain/terminal.ts'
import { StepFlags } from '../../src/operator/commands/step-flags.ts'
import { Failure } from '../../src/operator/failure.ts'
import type { WantedStep } from '../../src/operator/import-manifest/wanted-step.ts'
import type { Offline } from '../../src/operator/offline/folder.ts'
import { isVersion } from './authoring/wanted.ts'
import { ask } from './background/control.ts'
import { describeBench, describeResult } from './background/describe.ts'
import type { BenchFacts } from './background/facts.ts'
import { placeOf, runningBench, usualDir } from './background/place.ts'
import { serve } from './background/serve.ts'
import { facts, startInBackground, stopInBackground } from './background/start.ts'

/** `scripts/bench`: a bench in the background, and what an operator does with it. */

interface Options {
  readonly state: string
  readonly json?: true
}
type Given = Options & Readonly<Record<string, string | undefined>>

/** The slots of the device have this size. */
const MOST_MIB = 64

const version = (text: string): string => {
  if (!/^\d{1,9}(\.\d{1,9}){1,3}$/.test(text))
    throw new InvalidArgumentError('must be 2 to 4 numbers with dots, like 2.0.0')
  return text
}
const mebibytes = (text: string): string => {
  if (!/^\d{1,3}$/.test(text) || Number(text) < 1 || Number(text) > MOST_MIB)
    throw new InvalidArgumentError(`must be a whole number from 1 to ${MOST_MIB}`)
  return text
}
const say = (text: string): void => console.log(text)
const program = commandLine(
  'scripts/bench',
  'Runs a hub, a content server and a device on this machine, in the background, for your own experiments.',
)

command('up', 'start everything that does not run yet; returns when the device is connected', true)
  .option('--web', 'also serve a page of all devices, with buttons, to browsers on this machine')
  .option(
    '--address <ip>',
    'with --web: serve it at this IP address instead; everybody who reaches it can press the buttons',
  )
  .action(async (given: Given & { readonly web?: true }) => {
    const { web, address } = given
    if (address !== undefined && !web) throw new UsageError('--address needs --web')
    if (address !== undefined && !isIP(address)) throw new UsageError(`--address must be an IP address, not ${address}`)
    const place = await enter(given)
    const { facts: first, started } = await startInBackground(place, fileURLToPath(import.meta.url))
    const now = web ? { ...first, web: await ask<string>('web', { address }) } : first
    say(given.json ? JSON.stringify(now) : describeBench(now, started ? 'started' : 'runs already'))
  })

command('down', 'stop them all').action(async (given: Given) => {
  const place = await enter(given)
  say((await stopInBackground(place)) ? 'ended' : 'nothing ran')
})

command('status', 'show what runs', true).action(async (given: Given) => {
  const place = await enter(given)
  const now = await facts()
  if (given.json) return say(JSON.stringify(now ?? { running: false }))
  if (now) return say(describeBench(now, 'runs'))
  say((await runningBench(place)) ? 'a bench is just starting or ending' : 'nothing runs: scripts/bench up starts it')
})

command('env', 'print the environment for programs with unmodified SDKs: eval "$(scripts/bench env)"').action(
  async (given: Given) => {
    await enter(given)
    const { env } = await ask<BenchFacts>('status')
    for (const [name, value] of Object.entries(env)) say(`export ${name}='${value.replaceAll("'", "'\\''")}'`)
  },
)

const deploySteps = new StepFlags()
update(command('deploy', 'import a bundle or a list of steps, sign its update manifest, and deploy it'), deploySteps)
  .option('--wait', 'wait for the end; the exit code is 0 only if it was applied')
  .action(async (given: Given) => {
    const order = orderOf(given, deploySteps)
    await enter(given)
    const { workflowId, device, version } = await ask<Record<string, string>>('deploy', order)
    say(`deployed ${version} to ${device}, workflow ${workflowId}`)
    if (!given.wait) return
    const result = await ask<Record<string, unknown>>('result', { id: device, workflowId })
    say(describeResult(result))
    if ((result.lastInstallResult as { resultCode?: number })?.resultCode !== 700) process.exitCode = 1
  })

const offlineSteps = new StepFlags()
update(command('offline', 'write a folder with a signed deployment, for a device without a network'), offlineSteps)
  .requiredOption('--out <folder>', 'where to write it, such as a stick')
  .action(async (given: Given) => {
    const order = { ...orderOf(given, offlineSteps), out: resolve(given.out ?? '') }
    await enter(given)
    const { folder, files, device, version } = await ask<Offline & Record<string, string>>('offline', order)
    say(`${folder}: ${files.join(', ')} and deployment.json, ${version} for ${device}`)
    say(`on the device: pi-adu install ${folder}`)
  })

command('cancel', 'cancel the current deployment')
  .option('--device <id>', 'device id (default: the device that runs here)')
  .action(async (given: Given) => {
    await enter(given)
    const { device, workflowId } = await ask<Record<string, string>>('cancel', { id: given.device })
    say(`cancelled on ${device}, workflow ${workflowId}`)
  })

command('retry', 'send the current deployment again, with a new time stamp')
  .option('--device <id>', 'device id (default: the device that runs here)')
  .action(async (given: Given) => {
    await enter(given)
    const { device, workflowId } = await ask<Record<string, string>>('retry', { id: given.device })
    say(`sent once more to ${device}, workflow ${workflowId}`)
  })

command('bundle <file>', 'build and sign a bundle with a system for the device')
  .requiredOption('--version <version>', 'content of its /etc/adu-version: 2 to 4 numbers with dots', version)
  .option('--mib <size>', `size of its image in MiB, 1 to ${MOST_MIB}`, mebibytes, '8')
  .option('--unhealthy', 'its health check never passes')
  .action(async (file: string, given: Given) => {
    const target = resolve(file)
    await enter(given)
    const { version, mib, unhealthy } = given
    await ask('bundle', { file: target, version, mib, unhealthy: unhealthy && 'yes' })
    say(target)
  })

command('card', 'register a device that runs in QEMU, and print the folder with the files for its card')
  .option('--device <id>', 'device id (default: my-pi)')
  .action(async (given: Given) => {
    await enter(given)
    say(await ask<string>('card', { id: given.device }))
  })

command('power <how>', 'of the device: cut (as when the plug is pulled), off (in good order), on').action(
  async (how: string, given: Given) => {
    if (!['cut', 'off', 'on'].includes(how)) throw new UsageError(`power can be cut, off or on, not ${how}`)
    await enter(given)
    const { device, changed } = await ask<{ device: string; changed: boolean }>('power', { how })
    const now = { cut: 'has no power', off: 'is off', on: 'is on and connected' }[how as 'cut' | 'off' | 'on']
    say(changed ? `${device} ${now}` : `${device} was ${how === 'on' ? 'on' : 'off'} already`)
  },
)

program
  .command('serve', { hidden: true })
  .requiredOption('--state <folder>')
  .action((given: Given) => serve(placeOf(given.state)))

/** The options that say what is deployed. */
function update(made: Command, steps: StepFlags): Command {
  return steps
    .addTo(made)
    .option('--device <id>', 'device id (default: the device that runs here)')
    .option('--swu <file>', 'the bundle (default: the prepared bundle of the next system)')
    .option(
      '--version <version>',
      'version of the update, and with --swu its installedCriteria (default: the version in sw-description)',
      version,
    )
}

function orderOf({ device, swu, version }: Given, flags: StepFlags) {
  const steps = flags.steps().map(located)
  if (swu && steps.length > 0) throw new UsageError('--swu is the only step: use --step image:FILE in a list')
  const id = { id: device, swu: swu && resolve(swu), version }
  return { ...id, ...(steps.length > 0 && { steps: JSON.stringify(steps) }) }
}

/** Paths mean the same to the process in the background; a version in place of a file stays one. */
function located(step: WantedStep): WantedStep {
  const { files, script } = step
  const at = (file: string): string => (isVersion(file) && !existsSync(file) ? file : resolve(file))
  return { ...step, files: files.map(at), ...(script === undefined ? {} : { script: at(script) }) }
}

function command(name: string, description: string, json = false): Command {
  const made = program
    .command(name)
    .description(description)
    .option('--state <folder>', 'folder for all files', usualDir())
  return json ? made.option('--json', 'one JSON object') : made
}

/** Makes the state folder the current one: its control socket has to be near. */
async function enter({ state }: Options) {
  await mkdir(state, { recursive: true, mode: 0o700 })
  const dir = await realpath(state)
  process.chdir(dir)
  return placeOf(dir)
}

// Who reads it may have seen enough (`| head`).
process.stdout.on('error', () => process.exit(141))
try {
  await program.parseAsync()
} catch (error) {
  process.stderr.write(`bench: ${onOneLine(error instanceof Error ? error.message : String(error))}\n`)
  process.exitCode = error instanceof Failure ? error.exitCode : error instanceof UsageError ? EXIT_USAGE : 1
}
// The background process has been let go, but its handle has not.
process.exit()
