// scripts/run-qemu: the image on an emulated card, in an emulated board, for a person.
import { mkdir, readdir, readFile, stat } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { repositoryRoot } from '../build/repository.ts'
import { Card } from './card.ts'
import { type Board, boardArguments, startQemu } from './machine.ts'

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
if (board !== 'virt' && board !== 'raspi3b') throw new Error('--board is virt or raspi3b')

const system = resolve(values.system!)
const path = resolve(values.card ?? join(system, `card-${board}.img`))
const log = resolve(values.log ?? join(system, `serial-${board}.log`))
const card = (await exists(path)) && !values.fresh ? new Card(path) : await Card.flash(await newestImage(), path)
await mkdir(resolve(log, '..'), { recursive: true })
for (const given of values.put!) {
  const isFolder = (await stat(given)).isDirectory()
  const files = isFolder ? (await readdir(given)).map(name => join(given, name)) : [given]
  for (const file of files) await card.put({ [basename(file)]: await readFile(file) })
}
// QEMU's Pi takes a running watchdog for an order to reset at once.
if (board === 'raspi3b') await card.put({ 'extra.env': 'extra=adu.watchdog=off systemd.watchdog_sec=0\n' })

console.error(`card: ${path}\nserial line: ${log}`)
if (values.shell) console.error('leave with Ctrl-A X; the monitor is at Ctrl-A C')
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

/** Only the dev variant talks on the serial line, so it is the one to take where both are there. */
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
