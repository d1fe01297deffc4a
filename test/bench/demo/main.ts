import { mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { InvalidArgumentError, Option } from 'commander'
import { commandLine, EXIT_USAGE } from '../../../src/cli/command-line.ts'
import { onOneLine } from '../../../src/domain/terminal.ts'
import { draw, type Paint, painter } from './draw.ts'
import { playFleet } from './fleet.ts'
import { imageDevice } from './image-device.ts'
import { svgOf } from './picture.ts'
import { Scene } from './scene.ts'
import { liveShow, plainShow, type Show } from './show.ts'
import { type DeviceFacts, Stage } from './stage.ts'
import { STORIES, type Story, type StoryName } from './stories.ts'
import { summary, verdictLines } from './summary.ts'
import type { Check } from './verdict.ts'
import { workbenchDevice } from './workbench-device.ts'

/** `scripts/demo`: a device takes a signed system update, for a person to watch. */

interface Options {
  readonly badImage?: true
  readonly tampered?: true
  readonly powerCut?: true
  readonly cancel?: true
  readonly steps?: true
  readonly firmwareUpdate?: true
  readonly dps?: true
  readonly contract?: '2021'
  readonly devices: number
  readonly qemu?: true
  readonly plain?: true
  readonly keep?: true
  readonly imageMib?: number
  readonly downloadSeconds?: number
  readonly distrust?: boolean
  readonly picture?: string
}

const VARIANTS = {
  badImage: 'bad-image',
  tampered: 'tampered',
  powerCut: 'power-cut',
  cancel: 'cancel',
  steps: 'steps',
  firmwareUpdate: 'firmware-update',
  dps: 'dps',
  contract: 'contract',
} as const
/** An emulated board needs at least this many times as long to become healthy. */
const SLOWNESS = 6
/** As a shell does for SIGINT. */
const INTERRUPTED = 130
/** As a shell does for SIGPIPE. */
const UNREAD = 141

class Interrupted extends Error {}

const number = (text: string): number => {
  if (!(Number(text) > 0)) throw new InvalidArgumentError('must be a number above 0')
  return Number(text)
}

const devices = (text: string): number => {
  const count = number(text)
  if (!Number.isInteger(count) || count > 20) throw new InvalidArgumentError('must be 1 to 20')
  return count
}

const program = commandLine(
  'scripts/demo',
  'Watch a device take a signed system update: a hub, a content server and a device on this machine, everything real except the board.\n' +
    'Ends with 0 only if the device is in the end what it should be, and the twin says so.',
)
  .option('--bad-image', 'the new system never becomes healthy: the device falls back by itself and reports why')
  .option('--tampered', 'a changed manifest, a changed bundle, a wrong signature: all refused')
  .option('--power-cut', 'the plug is pulled during the installation, and again during the trial boot')
  .option('--cancel', 'the operator cancels during the download, and deploys again later')
  .option('--steps', 'a list: a script, a system, and a script that runs in the new system')
  .option('--firmware-update', 'the older pattern: the direct method firmwareUpdate, and a twin that shows every stage')
  .addOption(
    new Option('--contract <year>', 'a service of 2021: download, install and apply are ordered one by one').choices([
      '2021',
    ]),
  )
  .option('--dps', 'twenty devices that know no hub: enrolled, provisioned, updated, and one certificate renewed')
  .option('--devices <count>', 'how many with --dps, up to 20', devices, 20)
  .option('--qemu', 'the device is the image that you flash, in an emulated board: minutes instead of seconds')
  .option('--plain', 'plain lines instead of a moving picture; the default without a terminal')
  .option('--keep', 'keep the folder with everything the demo made')
  .addOption(new Option('--image-mib <size>').argParser(number).hideHelp())
  .addOption(new Option('--download-seconds <seconds>').argParser(number).hideHelp())
  .addOption(new Option('--distrust', 'a device that trusts somebody else: cannot succeed').hideHelp())
  .addOption(new Option('--picture <file>', 'an SVG of a moment in mid-download').hideHelp())

program.parse()
process.exitCode = await main(program.opts<Options>())
// Timers of a library must not keep a finished demo alive.
process.exit()

async function main(options: Options): Promise<number> {
  const chosen = Object.entries(VARIANTS).filter(([option]) => option in options)
  if (chosen.length > 1)
    return complain(
      `one of ${Object.values(VARIANTS)
        .map(name => `--${name}`)
        .join(', ')} at a time`,
      EXIT_USAGE,
    )
  if (options.steps && options.qemu) return complain('--steps is for a workbench device, without --qemu', EXIT_USAGE)
  if (options.dps && options.qemu) return complain('--dps is for workbench devices, without --qemu', EXIT_USAGE)
  const variant = chosen[0]?.[1] ?? ('update' satisfies StoryName)
  const interactive = process.stdout.isTTY && process.env.TERM !== 'dumb' && !options.plain
  const colours = interactive && !process.env.NO_COLOR
  const show = interactive ? liveShow(process.stdout, colours) : plainShow(process.stdout)

  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => stop.abort(new Interrupted(signal)))
  }
  // Who reads it may have seen enough (`| head`): all that was made goes all the same.
  process.stdout.on('error', () => stop.abort(new Interrupted('SIGPIPE')))
  const stateDir = await realpath(await mkdtemp(join(folder(options), 'pi-adu-demo-')))
  // Whatever a program leaves in the temporary folder goes with ours.
  process.env.TMPDIR = stateDir
  try {
    const means = { stateDir, show, paint: painter(colours), signal: stop.signal }
    return variant === 'dps' ? await playAll(options, means) : await play(STORIES[variant], options, means)
  } catch (error) {
    show.end()
    if (stop.signal.aborted) return stop.signal.reason.message === 'SIGPIPE' ? UNREAD : INTERRUPTED
    return complain(error instanceof Error ? error.message : String(error))
  } finally {
    if (options.keep) process.stdout.write(`\n  kept: ${stateDir}\n`)
    else await rm(stateDir, { recursive: true, force: true, maxRetries: 5 })
  }
}

/** The image is large, and /tmp may be in memory. */
function folder({ qemu }: Options): string {
  return process.env.TMPDIR ?? (qemu ? '/var/tmp' : tmpdir())
}

interface Means {
  readonly stateDir: string
  readonly show: Show
  readonly paint: Paint
  readonly signal: AbortSignal
}

async function play(
  story: Story,
  { imageMib = story.imageMiB, downloadSeconds = story.downloadSeconds, distrust = false, qemu, picture }: Options,
  { stateDir, show, paint, signal }: Means,
): Promise<number> {
  const scene = new Scene(story.title, show.tell)
  show.begin(scene)
  let checks: Check[] = []
  let facts: DeviceFacts | undefined
  await Stage.with(
    {
      stateDir,
      scene,
      signal,
      downloadSeconds,
      makeDevice: qemu ? imageDevice : means => workbenchDevice(means, Math.round(imageMib) << 20),
      healthSeconds: story.healthSeconds * (qemu ? SLOWNESS : 1),
      distrusting: distrust,
      ...(story.piAdu && { piAdu: story.piAdu }),
      ...(story.steps && { steps: true }),
    },
    async stage => {
      if (picture) void stage.until(() => stage.fetched > 0.6, 'a picture').then(() => takePicture(scene, picture))
      checks = await story.play(stage, scene)
      facts = await stage.last()
      // The lights of the end, before they go out.
      show.end()
    },
  )
  if (!facts) throw new Error('the demo ended without having looked at the device')
  const good = checks.length > 0 && checks.every(({ ok }) => ok)
  process.stdout.write(`${summary(scene, facts, checks, paint)}\n`)
  return good ? 0 : 1
}

/** Several devices do not fit into the picture of one: what happens is told line by line. */
async function playAll({ devices, imageMib = 16 }: Options, { stateDir, paint, signal }: Means): Promise<number> {
  const begun = Date.now()
  const tell = (who: string, what: string): void => {
    const seconds = ((Date.now() - begun) / 1000).toFixed(1).padStart(6)
    process.stdout.write(`${seconds} s  ${who.padEnd(8)}  ${onOneLine(what)}\n`)
  }
  const checks = await playFleet({ stateDir, devices, imageBytes: Math.round(imageMib) << 20, signal, tell })
  process.stdout.write(`\n${verdictLines(checks, paint).join('\n')}\n`)
  return checks.length > 0 && checks.every(({ ok }) => ok) ? 0 : 1
}

async function takePicture(scene: Scene, file: string): Promise<void> {
  // A moment in which the blinking light is lit.
  const now = (scene.mood?.since ?? 0) + 5000
  const moment = now + 500 * Math.ceil((Date.now() - now) / 500)
  await writeFile(file, svgOf(draw(scene, { columns: 84, rows: 40, paint: painter(true), now: moment }), scene.title))
}

function complain(why: string, exitCode = 1): number {
  process.stderr.write(`demo: ${onOneLine(why)}\n`)
  return exitCode
}
