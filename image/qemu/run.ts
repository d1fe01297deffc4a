// scripts/run-qemu: the image on an emulated card, in an emulated board, for a person.
import { mkdir, readdir, readFile, stat } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { UsageError } from '../../src/domain/errors.ts'
import { failInOneLine } from '../builder/failure.ts'
import { repositoryRoot } from '../builder/repository.ts'
import { Card } from './card.ts'
import { type Board, boardArguments, startQemu } from './machine.ts'

failInOneLine('run-qemu')
const { values } = parseArgs({
  options: {
    board: { type: 'string', default: 'virt' },
    system: { type: 'string', default: join(repositoryRoot(), 'dist/system') },
    card: { type: 'string' },
    fresh: { type: 'boolean', default: false },
    put: { type: 'string', multiple: true, default: [] },
    log: { type: 'string' },
    shell: { type: 'boolean', default: false },
  },
})
const board = values.board as Board
if (board !== 'virt' && board !== 'raspi3b') throw new UsageError('--board is virt or raspi3b')

const system = resolve(values.system!)
const path = resolve(values.card ?? join(system, `card-${board}.img`))
const log = resolve(values.log ?? join(system, `serial-${board}.log`))
const image = (await exists(path)) && !values.fresh ? undefined : await newestImage()
const card = image === undefined ? new Card(path) : await Card.flash(image, path)
await mkdir(resolve(log, '..'), { recursive: true })
for (const given of values.put!) {
  const found = await stat(given).catch(() => undefined)
  if (!found) throw new UsageError(`--put ${given}: there is no such file or folder`)
  const isFolder = found.isDirectory()
  const files = isFolder ? (await readdir(given)).map(name => join(given, name)) : [given]
  for (const file of files) await card.put({ [basename(file)]: await readFile(file) })
}
// QEMU's Pi resets at once when the watchdog is started.
if (board === 'raspi3b') await card.put({ 'extra.env': 'extra=adu.watchdog=off systemd.watchdog_sec=0\n' })

const state = image === undefined ? 'as it was left; --fresh flashes it again' : `flashed with ${basename(image)}`
console.error(`card: ${path} (${state})\nserial line: ${log}`)
console.error(values.shell ? 'leave with Ctrl-A X; the monitor is at Ctrl-A C' : 'Ctrl-C switches the board off')
const serial = values.shell ? 'stdio,mux=on,signal=off' : 'null'
const child = startQemu(
  [
    ...boardArguments({ board, disk: path, firmware: join(system, 'qemu') }),
    ...['-display', 'none', '-chardev', `${serial},id=serial,logfile=${log},logappend=on`],
    ...(board === 'raspi3b' ? ['-serial', 'null'] : []),
    ...['-serial', 'chardev:serial', ...(values.shell ? ['-mon', 'chardev=serial'] : ['-monitor', 'none'])],
  ],
  'inherit',
)
for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, () => child.kill('SIGTERM'))
child.once('exit', code => process.exit(code ?? 1))

/** Only the dev variant has a shell on the serial line, so it is preferred if both exist. */
async function newestImage(): Promise<string> {
  const names = (await readdir(system).catch(() => [])).filter(name => /^pi-adu-.*\.img$/.test(name))
  const times = await Promise.all(names.map(async name => (await stat(join(system, name))).mtimeMs))
  const found = names.map((name, i) => ({ name, time: times[i]!, dev: name.endsWith('-dev.img') }))
  const [best] = found.sort((one, two) => Number(two.dev) - Number(one.dev) || two.time - one.time)
  if (!best) throw new Error(`no image in ${system}: scripts/build-image --dev --no-compress makes one`)
  return join(system, best.name)
}

async function exists(file: string): Promise<boolean> {
  return (await stat(file).catch(() => undefined)) !== undefined
}
