import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Card } from '../../../image/qemu/card.ts'
import { type Board, Machine } from '../../../image/qemu/machine.ts'
import { merged } from '../../../src/config/layer-defaults.ts'
import { fileUrls, type ImportedUpdate } from '../authoring/manifest.ts'
import type { Bench } from '../bench.ts'
import { eventsIn, type Name, type Told } from '../event-lines.ts'
import { GUEST_VIEW } from '../hub/certs.ts'
import type { SlotName } from '../workbench/boot-env.ts'
import { CHOICE } from './choice.ts'
import { enrolledBoard, serialArguments } from './provisioned.ts'

/** What the image is called in the hub: of its devices, and of updates for them. */
const NAMES = { manufacturer: 'contoso', model: 'pi' }
export const PI_UPDATE = { name: 'pi', compatibility: [NAMES] }

/** A boot of the image takes half a minute on an idle machine; this is for one that is not. */
export const BOOT_MS = 600_000

export interface GuestOptions {
  readonly id: string
  readonly bench: Bench
  /** Folder that scripts/build-image wrote, and the image in it. */
  readonly system: string
  readonly image: string
  /** For the card, the serial log and sockets. */
  readonly dir: string
  readonly board?: Board
  /** Of an emulated `virt`. With it the device has no connection string: it registers itself, under `idOfBoard(serial)`. */
  readonly serial?: string
  /** Merged into the `piAdu` section of the configuration. */
  readonly piAdu?: Readonly<Record<string, object | string>>
  /** The owner's kernel parameters. */
  readonly extra?: string
  readonly writeLog?: string
  /** As for `Machine`. */
  readonly wire?: string
  readonly more?: readonly string[]
}

/** The image on a card, with the identity of a device of the bench, in an emulated board. */
export class Guest {
  readonly options: GuestOptions
  readonly card: Card
  machine: Machine | undefined
  /** Where the running boot began on the serial line, once there is a shell. */
  #shellSince = -1

  private constructor(options: GuestOptions, card: Card) {
    this.options = options
    this.card = card
  }

  /** A card that was just flashed and given what an owner gives it; not switched on. */
  static async flash(options: GuestOptions): Promise<Guest> {
    const { bench, id, dir, image, extra, board, serial } = options
    await mkdir(dir, { recursive: true })
    const card = await Card.flash(image, join(dir, 'card.img'))
    if (bench.hub.hasDevice(id)) bench.hub.deleteDevice(id)
    if (serial === undefined) bench.hub.createDevice(id)
    const enrolled = serial === undefined ? undefined : await enrolledBoard(bench, serial, dir)
    // QEMU's Pi takes a running watchdog for an order to reset at once.
    const parameters = [extra, ...(board === 'raspi3b' ? ['adu.watchdog=off systemd.watchdog_sec=0'] : [])]
    await card.put({
      ...(await identity({ ...options, provisioning: enrolled?.provisioning })),
      ...enrolled?.files,
      ...(parameters.some(Boolean) && { 'extra.env': `extra=${parameters.filter(Boolean).join(' ')}\n` }),
    })
    return new Guest(options, card)
  }

  /** All that came over the serial line, of every power-on. */
  get serialLog(): string {
    return join(this.options.dir, 'serial.log')
  }

  /** What runs, asked of the system itself over the serial line; the agent has no part in the answer. Dev variant only. */
  async running(): Promise<{ readonly slot: SlotName; readonly version: string }> {
    const { machine } = this
    if (!machine) throw new Error('the machine is off')
    const since = [...machine.serial.matchAll(new RegExp(CHOICE, 'g'))].at(-1)?.index ?? 0
    if (since !== this.#shellSince) await machine.login(BOOT_MS, since)
    this.#shellSince = since
    const { output } = await machine.shell('cat /proc/cmdline /etc/adu-version')
    const [, slot, version] = /adu\.slot=([ab]).*\s+(\S+)\s*$/.exec(output) ?? []
    if (!slot || !version) throw new Error(`the system says of itself: ${output}`)
    return { slot: slot as SlotName, version }
  }

  async powerOn(): Promise<Machine> {
    const { board = 'virt', system, dir, more = [], writeLog, wire, serial } = this.options
    const where = { disk: this.card.path, firmware: join(system, 'qemu'), dir }
    if (writeLog !== undefined) await writeFile(writeLog, '')
    this.#shellSince = -1
    this.machine = await Machine.start({
      board,
      ...where,
      ...(writeLog !== undefined && { writeLog }),
      ...(wire !== undefined && { wire }),
      more: [...more, ...(serial === undefined ? [] : await serialArguments(where, serial))],
    })
    return this.machine
  }

  /** What the agent has told over the serial line since this place in its text. */
  events<N extends Name>(name: N, from = 0): readonly Told<N>[] {
    return eventsIn(this.machine?.serial.slice(from) ?? '', name)
  }

  /** The first such event after this place in the serial text. Errors: as `Machine.waitFor`. */
  async waitForEvent<N extends Name>(
    name: N,
    timeoutMs: number,
    { from = 0, is = () => true }: { from?: number; is?: (event: Told<N>) => boolean } = {},
  ): Promise<Told<N>> {
    if (!this.machine) throw new Error('the machine is off')
    const find = (text: string) => eventsIn(text, name).find(is) ?? null
    return this.machine.waitUntil(`the event ${name}`, find, timeoutMs, from)
  }

  async powerCut(): Promise<void> {
    await this.machine?.powerCut()
    this.machine = undefined
  }
}

/** Where a guest finds the files of an update. */
export const urlsForGuest = ({ content }: Bench, update: ImportedUpdate): Readonly<Record<string, string>> =>
  fileUrls(update.files, path => content.url(path).replace('//localhost:', `//${GUEST_VIEW}:`))

type Configured = Pick<GuestOptions, 'bench' | 'id' | 'piAdu'> & { readonly provisioning?: object | undefined }

/** What an owner puts onto the boot partition of a guest's card: name → content. The device is registered, or provisioned. */
export async function identity(options: Configured): Promise<Record<string, string>> {
  return {
    'du-config.json': `${JSON.stringify(configuration(options), null, 2)}\n`,
    'hub-ca.pem': await readFile(options.bench.hub.caFile, 'utf8'),
  }
}

function configuration({ bench, id, piAdu = {}, provisioning }: Configured): object {
  const connectionSource = () => ({
    connectionType: 'string',
    connectionData: bench.hub.deviceConnectionString(id).replace('=localhost:', `=${GUEST_VIEW}:`),
  })
  return {
    schemaVersion: '1.1',
    ...NAMES,
    agents: [{ name: 'main', ...NAMES, ...(!provisioning && { connectionSource: connectionSource() }) }],
    piAdu: merged(piAdu, {
      hub: { caFile: '/data/adu/hub-ca.pem' },
      content: { caFile: '/data/adu/hub-ca.pem', allowedHosts: ['*', GUEST_VIEW] },
      trust: { rootKeys: bench.authority.rootKeyJwks },
      ...(provisioning && { provisioning }),
    }),
  }
}
