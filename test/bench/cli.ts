import { mkdir, realpath } from 'node:fs/promises'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Command } from 'commander'
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

const say = (text: string): void => console.log(text)
const program = new Command('scripts/bench').description(
  'A hub, a content server and a device on this machine, in the background, for anything one wants to try against them.',
)

command('up', 'start them, unless they run; returns when the device is connected', true).action(
  async (given: Given) => {
    const place = await enter(given)
    const { facts: now, started } = await startInBackground(place, fileURLToPath(import.meta.url))
    say(given.json ? JSON.stringify(now) : describeBench(now, started ? 'started' : 'runs already'))
  },
)

command('down', 'end them, the device too').action(async (given: Given) => {
  const place = await enter(given)
  say((await stopInBackground(place)) ? 'ended' : 'nothing ran')
})

command('status', 'say what runs', true).action(async (given: Given) => {
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

command('deploy', 'import a bundle, sign its update manifest, and deploy it')
  .option('--device <id>', 'to which device (default: the one that runs here)')
  .option('--swu <file>', 'the bundle (default: the ready one of the next system)')
  .option('--version <version>', 'of the update, and installedCriteria (default: as sw-description says)')
  .option('--wait', 'until it has come to its end; exit code 0 only if it was applied')
  .action(async (given: Given) => {
    const swu = given.swu && resolve(given.swu)
    await enter(given)
    const order = { id: given.device, swu, version: given.version }
    const { workflowId, device, version } = await ask<Record<string, string>>('deploy', order)
    say(`deployed ${version} to ${device}, workflow ${workflowId}`)
    if (!given.wait) return
    const result = await ask<Record<string, unknown>>('result', { id: device, workflowId })
    say(describeResult(result))
    if ((result.lastInstallResult as { resultCode?: number })?.resultCode !== 700) process.exitCode = 1
  })

command('cancel', 'cancel what is deployed')
  .option('--device <id>', 'on which device (default: the one that runs here)')
  .action(async (given: Given) => {
    await enter(given)
    await ask('cancel', { id: given.device })
  })

command('retry', 'send what is deployed once more, with a new time stamp')
  .option('--device <id>', 'to which device (default: the one that runs here)')
  .action(async (given: Given) => {
    await enter(given)
    await ask('retry', { id: given.device })
  })

command('bundle <file>', 'build and sign a bundle with a system for the device')
  .requiredOption('--version <version>', 'what its /etc/adu-version says')
  .option('--mib <size>', 'size of its image in MiB, at most 64', '8')
  .option('--unhealthy', 'its health check never passes')
  .action(async (file: string, given: Given) => {
    const target = resolve(file)
    await enter(given)
    const { version, mib, unhealthy } = given
    await ask('bundle', { file: target, version, mib, unhealthy: unhealthy && 'yes' })
    say(target)
  })

command('card', 'register a device that runs in QEMU, and print the folder with what its card needs')
  .option('--device <id>', 'its id (default: my-pi)')
  .action(async (given: Given) => {
    await enter(given)
    say(await ask<string>('card', { id: given.device }))
  })

command('power <how>', 'of the device: cut (as when the plug is pulled), off (in good order), on').action(
  async (how: string, given: Given) => {
    if (!['cut', 'off', 'on'].includes(how)) throw new Error(`power can be cut, off or on, not ${how}`)
    await enter(given)
    await ask('power', { how })
  },
)

program
  .command('serve', { hidden: true })
  .requiredOption('--state <folder>')
  .action((given: Given) => serve(placeOf(given.state)))

function command(name: string, description: string, json = false): Command {
  const made = program
    .command(name)
    .description(description)
    .option('--state <folder>', 'where everything lives', usualDir())
  return json ? made.option('--json', 'one JSON object') : made
}

/** Makes the state folder the current one: its control socket has to be near. */
async function enter({ state }: Options) {
  await mkdir(state, { recursive: true, mode: 0o700 })
  const dir = await realpath(state)
  process.chdir(dir)
  return placeOf(dir)
}

try {
  await program.parseAsync()
} catch (error) {
  process.stderr.write(`bench: ${error instanceof Error ? error.message : error}\n`)
  process.exitCode = 1
}
// The background process has been let go, but its handle has not.
process.exit()
