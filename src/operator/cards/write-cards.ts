import { createHash, randomBytes } from 'node:crypto'
import { constants, rmSync } from 'node:fs'
import { copyFile, type FileHandle, lstat, open, readdir, readFile, rename, rm, stat, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { EXIT, Failure, messageOf } from '../failure.ts'
import { bytes } from '../output.ts'
import { runProgram } from '../program.ts'
import { writeAll } from '../write-all.ts'
import { type BaseImage, BLOCK } from './base-image.ts'
import { blockMapText, changedRanges, type Range, readBlockMap } from './block-map.ts'
import { BootPartition, type Change } from './boot-partition.ts'
import type { CardRecord, CardRow } from './card-record.ts'
import type { Device } from './device-files.ts'

/** `whole`: an image for each card. `difference`: only the blocks in which a card differs from the image. */
export const FORMS = ['whole', 'difference'] as const
export type Form = (typeof FORMS)[number]

const END: Readonly<Record<Form, string>> = { whole: '.img', difference: '.diff.img' }
/** No card's name ends like this. */
const NEW = '.new'
const WORK = '.boot-partition.work'
const PROBE = '.clone.probe'

const SAVE_MS = 2_000

export interface WriteOptions {
  readonly base: BaseImage
  /** Of the image. */
  readonly sha256: string
  readonly devices: readonly Device[]
  readonly out: string
  readonly form: Form
}

/**
 * Writes a file for each card, with a block map beside it. A file that an earlier call has written from the same image and files is
 * kept. A card that fails has its reason in the record, and the others go on. The caller holds the lock of `out`. Errors: Failure when
 * no card can be written any more.
 */
export async function writeCards(options: WriteOptions, record: CardRecord, onProgress: () => void): Promise<void> {
  const { base, sha256, devices, out, form } = options
  const left: { readonly device: Device; readonly row: CardRow; readonly earlier: CardRow | undefined }[] = []
  for (const device of devices) {
    const row = rowOf(device, sha256, form)
    const earlier = record.rows.get(device.name)
    if (await isKept(earlier, row, out)) continue
    if (earlier?.file !== row.file && (await lstat(join(out, row.file)).catch(() => undefined))) {
      throw new Failure(EXIT.usage, `${join(out, row.file)} is not from an earlier call: move it away`)
    }
    left.push({ device, row, earlier })
  }
  // A card of other files, another image or the other form must not look like a new one.
  for (const { device, earlier } of left) {
    const old = FORMS.map(each => fileOf(device.name, each)).find(file => file === earlier?.file)
    if (old) for (const end of ['', '.bmap', NEW]) await rm(join(out, old + end), { force: true })
  }
  // From here on a file of this name is ours, whatever happens.
  for (const { device, row } of left) record.rows.set(device.name, row)
  await record.save()
  for (const { row } of left) for (const end of ['', '.bmap', NEW]) await rm(join(out, row.file + end), { force: true })
  const ranges = form === 'whole' ? await mapBeside(base) : []
  if (form === 'whole') await checkRoom(base, out, left.length)
  // A killed call leaves its work file, which holds a key, and its mtools may still be writing to it.
  for (const name of await readdir(out)) if (name.startsWith(WORK)) await rm(join(out, name), { force: true })
  const work = join(out, WORK + randomBytes(8).toString('hex'))
  // Ctrl-C ends the process at once.
  const clear = (): void => rmSync(work, { force: true })
  process.once('exit', clear)
  const partition = await BootPartition.open(base, work)
  let savedAt = Date.now()
  try {
    for (const { device, row } of left) {
      const result = await partition.put(device.files).then(
        async changes => {
          const holds = (card: FileHandle, blocks: readonly number[]) => partition.holds(card, blocks, device.files)
          const bytes = await writeCard(options, row.file, changes, ranges, holds)
          if (bytes !== undefined) return { state: 'written' as const, bytes }
          return { state: 'failed' as const, reason: 'the card does not hold the files of its device: call again' }
        },
        (error: unknown) => {
          if (error instanceof Failure && error.exitCode === EXIT.failed) {
            return { state: 'failed' as const, reason: error.message }
          }
          throw error
        },
      )
      record.rows.set(device.name, { ...row, ...result })
      onProgress()
      if (Date.now() - savedAt < SAVE_MS) continue
      await record.save()
      savedAt = Date.now()
    }
  } finally {
    await partition.close()
    process.off('exit', clear)
    await record.save()
  }
}

const fileOf = (name: string, form: Form): string => `${name}${END[form]}`

function rowOf({ name, files, sha256, missing }: Device, image: string, form: Form): CardRow {
  const inputs = createHash('sha256').update(`1 ${form} ${image} ${sha256}`).digest('hex')
  return { device: name, state: 'planned', file: fileOf(name, form), files: [...files.keys()], missing, inputs }
}

async function isKept(earlier: CardRow | undefined, row: CardRow, out: string): Promise<boolean> {
  if (earlier?.state !== 'written' || earlier.inputs !== row.inputs) return false
  return (await stat(join(out, row.file)).catch(() => undefined))?.isFile() ?? false
}

/** The image's own block map; undefined when there is none beside it. */
async function mapBeside(base: BaseImage): Promise<readonly Range[] | undefined> {
  const text = await readFile(`${base.path}.bmap`, 'utf8').catch(() => undefined)
  return text === undefined ? undefined : readBlockMap(text, base.size)
}

/** Errors: Failure when whole images would fill the disk. */
async function checkRoom(base: BaseImage, out: string, count: number): Promise<void> {
  if (count === 0 || (await canClone(base, out))) return
  const { bavail, bsize } = await statfs(out)
  const needed = (await stat(base.path)).blocks * 512 * count
  if (needed <= bavail * bsize) return
  throw new Failure(
    EXIT.usage,
    `${count} images need ${bytes(needed)}, and ${out} has ${bytes(bavail * bsize)} left: use --form difference, or a file system that shares blocks (XFS, Btrfs)`,
  )
}

async function canClone(base: BaseImage, out: string): Promise<boolean> {
  const probe = join(out, PROBE)
  await rm(probe, { force: true })
  const cloned = await copyFile(base.path, probe, constants.COPYFILE_FICLONE_FORCE).then(
    () => true,
    () => false,
  )
  await rm(probe, { force: true })
  return cloned
}

/**
 * Writes under another name, reads back with `holds` and renames, so that a file of this name is complete. Gives the bytes of disk;
 * undefined, and no file, when the card does not hold what it should. Errors: Failure.
 */
async function writeCard(
  { base, out, form }: WriteOptions,
  name: string,
  changes: readonly Change[],
  ranges: readonly Range[] | undefined,
  holds: (card: FileHandle, blocks: readonly number[]) => Promise<boolean>,
): Promise<number | undefined> {
  const file = join(out, name)
  const [work, map] = [file + NEW, `${file}.bmap`]
  try {
    await rm(map + NEW, { force: true })
    const card = await open(work, 'wx+', 0o600)
    try {
      if (form === 'whole') await runProgram(['cp', '--sparse=always', '--reflink=auto', '--', base.path, work])
      else await card.truncate(base.size)
      for (const { block, content } of changes) await writeAll(card, content, block * BLOCK)
      await card.sync()
      const numbers = changes.map(({ block }) => block)
      if (!(await holds(card, numbers))) {
        await rm(work, { force: true })
        return undefined
      }
      if (ranges) {
        const text = blockMapText(base.size, await changedRanges(ranges, numbers, card))
        const beside = await open(map + NEW, 'wx', 0o600)
        await beside.writeFile(text)
        await beside.sync()
        await beside.close()
        await rename(map + NEW, map)
      }
      const { blocks } = await card.stat()
      await rename(work, file)
      return blocks * 512
    } finally {
      await card.close()
    }
  } catch (cause) {
    for (const path of [work, map + NEW]) await rm(path, { force: true })
    throw new Failure(EXIT.unavailable, `cannot write ${file}: ${messageOf(cause)}; call again to continue`, { cause })
  }
}
