import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Card } from '../../../image/qemu/card.ts'
import { type Board, Machine } from '../../../image/qemu/machine.ts'
import type { Bench } from '../bench.ts'
import { GUEST_VIEW } from '../hub/certs.ts'

export interface GuestOptions {
  readonly id: string
  readonly bench: Bench
  /** Folder that scripts/build-image wrote, and the image in it. */
  readonly system: string
  readonly image: string
  /** For the card, the serial log and sockets. */
  readonly dir: string
  readonly board?: Board
  /** Over the `piAdu` section of the configuration. */
  readonly piAdu?: Readonly<Record<string, object>>
  /** The owner's kernel parameters. */
  readonly extra?: string
  readonly writeLog?: string
  readonly more?: readonly string[]
}

/** The image on a card, with the identity of a device of the bench, in an emulated board. */
export class Guest {
  readonly options: GuestOptions
  readonly card: Card
  machine: Machine | undefined

  private constructor(options: GuestOptions, card: Card) {
    this.options = options
    this.card = card
  }

  /** A card that was just flashed and given what an owner gives it; not switched on. */
  static async flash(options: GuestOptions): Promise<Guest> {
    const { bench, id, dir, image, extra, board } = options
    await mkdir(dir, { recursive: true })
    const card = await Card.flash(image, join(dir, 'card.img'))
    if (bench.hub.hasDevice(id)) bench.hub.deleteDevice(id)
    bench.hub.createDevice(id)
    // QEMU's Pi takes a running watchdog for an order to reset at once.
    const parameters = [extra, ...(board === 'raspi3b' ? ['adu.watchdog=off systemd.watchdog_sec=0'] : [])]
    await card.put({
      'du-config.json': JSON.stringify(configuration(options), null, 2),
      'hub-ca.pem': await readFile(bench.hub.caFile),
      ...(parameters.some(Boolean) && { 'extra.env': `extra=${parameters.filter(Boolean).join(' ')}\n` }),
    })
    return new Guest(options, card)
  }

  async powerOn(): Promise<Machine> {
    const { board = 'virt', system, dir, more, writeLog } = this.options
    if (writeLog !== undefined) await writeFile(writeLog, '')
    this.machine = await Machine.start({
      board,
      disk: this.card.path,
      firmware: join(system, 'qemu'),
      dir,
      ...(writeLog !== undefined && { writeLog }),
      ...(more && { more }),
    })
    return this.machine
  }

  async powerCut(): Promise<void> {
    await this.machine?.powerCut()
    this.machine = undefined
  }
}

/** The address of a content server's file, for the guest. */
export const seenByGuest = (url: string): string => url.replace('//localhost:', `//${GUEST_VIEW}:`)

function configuration({ bench, id, piAdu = {} }: GuestOptions): object {
  const connectionData = bench.hub.deviceConnectionString(id).replace('=localhost:', `=${GUEST_VIEW}:`)
  const names = { manufacturer: 'contoso', model: 'pi' }
  return {
    schemaVersion: '1.1',
    ...names,
    agents: [{ name: 'main', ...names, connectionSource: { connectionType: 'string', connectionData } }],
    piAdu: {
      hub: { caFile: '/data/adu/hub-ca.pem' },
      content: { caFile: '/data/adu/hub-ca.pem' },
      trust: { rootKeys: bench.authority.rootKeyJwks },
      ...piAdu,
    },
  }
}
