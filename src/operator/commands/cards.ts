import { rmSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join, relative, resolve } from 'node:path'
import { type Command, Option } from 'commander'
import { bar, type LiveView, openView } from '../../cli/live-view.ts'
import { answerOf } from '../../cli/question.ts'
import { onOneLine } from '../../domain/terminal.ts'
import { type BaseImage, hashOfImage, openBaseImage } from '../cards/base-image.ts'
import { BootPartition } from '../cards/boot-partition.ts'
import { CardRecord } from '../cards/card-record.ts'
import { type Device, readDevices } from '../cards/device-files.ts'
import { type Disk, openDisk } from '../cards/disk.ts'
import { lockFolder } from '../cards/folder-lock.ts'
import { FORMS, type Form, type WriteOptions, writeCards } from '../cards/write-cards.ts'
import { writeDisk } from '../cards/write-disk.ts'
import { EXIT, Failure } from '../failure.ts'
import { print, warn } from '../output.ts'

interface Options {
  readonly image: string
  readonly devices: string
  readonly common?: string
  readonly device?: readonly string[]
  readonly out?: string
  readonly form: Form
  readonly to?: string
  readonly yes: boolean
  readonly json: boolean
}

const HELP = `
Examples:
  pi-adu-operator cards --image pi-adu-1.0.0.img --devices batch --out cards --form difference
      for each folder in batch, as enrol writes them, a small file with the blocks in which its card differs from the image
  bmaptool copy pi-adu-1.0.0.img /dev/sdX && bmaptool copy cards/pi-0001.diff.img /dev/sdX
      writes such a card: the image, then its difference
  pi-adu-operator cards --image pi-adu-1.0.0.img --devices batch --common everywhere --out cards
      whole images; the files in the folder everywhere go on every card
  pi-adu-operator cards --image pi-adu-1.0.0.img --devices batch --device pi-0001 --to /dev/sdX
      writes one card and reads it back
Needs mtools, and no root except for --to. Everything is checked before the first card is written. Call it again after an
interruption: what is complete is kept. --out holds keys of devices: keep it from others, and delete it when the cards are written.`

export function addCards(program: Command): void {
  program
    .command('cards')
    .description('puts the identity of each device into a copy of the image')
    .requiredOption('--image <file>', 'image of build-image, uncompressed')
    .requiredOption('--devices <folder>', 'a folder for each device, as enrol writes them')
    .option('--common <folder>', 'files for every card; those of a device come first')
    .option('--device <name...>', 'only these folders of --devices')
    .option('--out <folder>', 'a file for each device, with report.json and report.csv')
    .addOption(new Option('--form <form>', 'of the files in --out').choices([...FORMS]).default('whole'))
    .option('--to <disk>', 'write one card to this disk')
    .option('--yes', 'do not ask before the disk is written', false)
    .option('--json', 'print JSON, one line per change', false)
    .addHelpText('after', HELP)
    .action(run)
}

async function run(options: Options): Promise<void> {
  const { image, out, to, json } = options
  if ((out === undefined) === (to === undefined)) throw new Failure(EXIT.usage, 'one of --out and --to is needed')
  if (to !== undefined && options.device?.length !== 1)
    throw new Failure(EXIT.usage, '--to writes one card: name it with --device')
  const folders = [options.devices, options.common].flatMap(each => (each === undefined ? [] : [resolve(each)]))
  const inside = folders.find(each => out !== undefined && !relative(each, resolve(out)).startsWith('..'))
  if (inside !== undefined) throw new Failure(EXIT.usage, `--out must not lie in ${inside}`)
  const base = await openBaseImage(resolve(image))
  const disk = to === undefined ? undefined : await openDisk(to, base.size)
  const devices = await checkedDevices(options, base)
  if (disk) return writeOne(base, devices[0]!, disk, options)
  const sha256 = await viewed(json, view => hashOfImage(base, percent => showPart(view, 'reading the image', percent)))
  const unlock = lockFolder(resolve(out!))
  await writeAll({ base, sha256, devices, out: resolve(out!), form: options.form }, json).finally(unlock)
}

async function viewed<T>(json: boolean, work: (view: LiveView) => Promise<T>): Promise<T> {
  const view = await openView(json)
  return work(view).finally(() => view.end())
}

const showPart = (view: LiveView, what: string, percent: number): void => {
  const whole = Math.floor(percent / 10) * 10
  view.show([`${bar(percent)}  ${what}`], `${what}: ${whole} %`, { what, percent: whole })
}

const SHOWN = 20

/** Errors: Failure with a line for each thing that is wrong. */
async function checkedDevices(
  { devices: folder, common, device }: Options,
  base: BaseImage,
): Promise<readonly Device[]> {
  const { devices, problems } = await readDevices({
    ...{ folder: resolve(folder), only: device, secrets: base.secrets, bootFiles: base.bootFiles },
    common: common === undefined ? undefined : resolve(common),
  })
  if (problems.length > 0) {
    for (const problem of problems.slice(0, SHOWN)) process.stderr.write(`pi-adu-operator: ${onOneLine(problem)}\n`)
    const more = problems.length > SHOWN ? `; ${problems.length - SHOWN} more are not shown` : ''
    throw new Failure(
      EXIT.usage,
      `nothing was written: ${problems.length} ${problems.length === 1 ? 'problem' : 'problems'} in ${folder}${more}`,
    )
  }
  for (const name of base.secrets) {
    const without = devices.filter(({ missing }) => missing.includes(name))
    if (without.length > 0)
      warn(
        `${name}, which a layer of the image takes from each card, is missing for ${without.length} of ${devices.length}: ${without
          .slice(0, 3)
          .map(each => each.name)
          .join(', ')}${without.length > 3 ? ', …' : ''}`,
      )
  }
  return devices
}

async function writeAll(options: WriteOptions, json: boolean): Promise<void> {
  const { devices, out } = options
  const record = await CardRecord.open(out)
  const counts = () => {
    const states = devices.map(({ name }) => record.rows.get(name)?.state)
    const count = (state: string) => states.filter(each => each === state).length
    return { written: count('written'), failed: count('failed') }
  }
  let shown = -1
  const show = (view: LiveView): void => {
    const { written, failed } = counts()
    // In a log one line for each percent is enough.
    const percent = Math.floor(((written + failed) / devices.length) * 100)
    if (percent === shown) return
    shown = percent
    const text = `${written} of ${devices.length} written${failed > 0 ? `, ${failed} failed` : ''}`
    view.show([`${bar(percent)}  ${text}`], text, {
      ...{ written, failed, total: devices.length },
    })
  }
  await viewed(json, async view => {
    await writeCards(options, record, () => show(view))
    show(view)
  })
  const { failed } = counts()
  process.exitCode = failed > 0 ? EXIT.failed : EXIT.ok
  const bad = devices.flatMap(({ name }) => record.rows.get(name) ?? []).filter(({ state }) => state === 'failed')
  const lines = bad.map(({ device, reason }) => `✘ ${device}  ${reason}`)
  print(json, { report: record.file, ...counts(), total: devices.length }, [...lines, `cards and report are in ${out}`])
}

async function writeOne(base: BaseImage, device: Device, disk: Disk, options: Options): Promise<void> {
  if (!options.yes) await confirm(device, disk)
  const work = await mkdtemp(join(tmpdir(), 'pi-adu-card-'))
  // It holds the device's key; Ctrl-C ends the process at once.
  const clear = (): void => rmSync(work, { recursive: true, force: true })
  process.once('exit', clear)
  try {
    const partition = await BootPartition.open(base, join(work, 'boot'))
    const changes = await partition.put(device.files).finally(() => partition.close())
    await viewed(options.json, view =>
      writeDisk(disk.path, base, changes, (what, percent) => showPart(view, what, percent)),
    )
  } finally {
    clear()
    process.off('exit', clear)
  }
  print(options.json, { device: device.name, disk: disk.path }, [`${device.name} is on the card in ${disk.path}`])
}

/** Errors: Failure without a person's consent. */
async function confirm(device: Device, { path, description }: Disk): Promise<void> {
  if (!process.stdin.isTTY) throw new Failure(EXIT.usage, `nobody can be asked whether to write ${path}: add --yes`)
  const name = basename(path)
  const question = `Everything on ${path} (${description}) will be lost. Type ${name} to write ${device.name} to it: `
  if ((await answerOf(question)) !== name) throw new Failure(EXIT.stopped, `${path} was not written`)
}
