import { mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command, InvalidArgumentError, Option } from 'commander'
import { draw, type Paint, painter } from './draw.ts'
import { imageDevice } from './image-device.ts'
import { svgOf } from './picture.ts'
import { Scene } from './scene.ts'
import { liveShow, plainShow, type Show } from './show.ts'
import { type DeviceFacts, Stage } from './stage.ts'
import { STORIES, type StoryName } from './stories.ts'
import { summary } from './summary.ts'
import type { Check } from './verdict.ts'
import { workbenchDevice } from './workbench-device.ts'

/** `scripts/demo`: a device takes a signed system update, for a person to watch. */

interface Options {
  readonly badImage?: true
  readonly tampered?: true
  readonly powerCut?: true
  readonly cancel?: true
  readonly qemu?: true
  readonly plain?: true
  readonly keep?: true
  readonly imageMib?: number
  readonly downloadSeconds?: number
  readonly distrust?: boolean
  readonly picture?: string
}

const VARIANTS = { badImage: 'bad-image', tampered: 'tampered', powerCut: 'power-cut', cancel: 'cancel' } as const
/** How much longer an emulated board takes to become healthy, at the least. */
const SLOWNESS = 6
/** As a shell does for SIGINT. */
const INTERRUPTED = 130

class Interrupted extends Error {}

const number = (text: string): number => {
  if (!(Number(text) > 0)) throw new InvalidArgumentError('must be a number above 0')
  return Number(text)
}

const program = new Command('scripts/demo')
  .description(
    'Watch a device take a signed system update: a hub, a content server and a device on this machine, everything real but the board.\n' +
      'Ends with 0 only if the device is in the end what it should be, and the twin says so.',
  )
  .option('--bad-image', 'the new system never becomes healthy: the device goes back by itself and says why')
  .option('--tampered', 'a changed manifest, a changed bundle, a wrong signature: all refused')
  .option('--power-cut', 'the plug is pulled in mid-install, and again in the trial boot')
  .option('--cancel', 'the operator cancels in mid-download, and deploys again later')
  .option('--qemu', 'the device is the image that is flashed, in an emulated board: minutes instead of seconds')
  .option('--plain', 'lines instead of a moving picture, as without a terminal')
  .option('--keep', 'keep the folder with all that was made')
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
  if (chosen.length > 1) return complain('one of --bad-image, --tampered, --power-cut and --cancel at a time')
  const story = STORIES[chosen[0]?.[1] ?? ('update' satisfies StoryName)]
  const interactive = process.stdout.isTTY && process.env.TERM !== 'dumb' && !options.plain
  const colours = interactive && !process.env.NO_COLOR
  const show = interactive ? liveShow(process.stdout, colours) : plainShow(process.stdout)

  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => stop.abort(new Interrupted(signal)))
  }
  const stateDir = await realpath(await mkdtemp(join(folder(options), 'pi-adu-demo-')))
  // Whatever a program leaves in the temporary folder goes with ours.
  process.env.TMPDIR = stateDir
  try {
    return await play(story, options, { stateDir, show, paint: painter(colours), signal: stop.signal })
  } catch (error) {
    show.end()
    if (stop.signal.aborted) return INTERRUPTED
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
  story: (typeof STORIES)[StoryName],
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
    },
    async stage => {
      if (picture) void stage.until(() => stage.fetched > 0.6, 'a picture').then(() => takePicture(scene, picture))
      checks = await story.play(stage, scene)
      facts = await stage.facts()
      // The lights of the end, before they go out.
      show.end()
    },
  )
  if (!facts) throw new Error('the demo ended without having looked at the device')
  const good = checks.length > 0 && checks.every(({ ok }) => ok)
  process.stdout.write(`${summary(scene, facts, checks, paint)}\n`)
  return good ? 0 : 1
}

async function takePicture(scene: Scene, file: string): Promise<void> {
  // A moment in which the blinking light is lit.
  const now = (scene.mood?.since ?? 0) + 5000
  const moment = now + 500 * Math.ceil((Date.now() - now) / 500)
  await writeFile(file, svgOf(draw(scene, { columns: 84, rows: 40, paint: painter(true), now: moment }), scene.title))
}

function complain(why: string): number {
  process.stderr.write(`demo: ${why}\n`)
  return 1
}
