import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { readLayout } from '../../../image/builder/disk.ts'
import { eventIn } from '../event-lines.ts'
import { CHOICE } from '../qemu/choice.ts'
import { Guest, PI_UPDATE, urlsForGuest } from '../qemu/guest.ts'
import { buildSystem, bundleOf } from '../qemu/system.ts'
import { decodeBootEnv, type SlotName } from '../workbench/boot-env.ts'
import { readFromImage } from '../workbench/image.ts'
import type { DemoDevice, DeviceMeans } from './device.ts'
import { followLines } from './follow.ts'

/** The image that is flashed, on a card, in an emulated board. */
export async function imageDevice({ bench, id, system, piAdu, dir, signal, note }: DeviceMeans): Promise<DemoDevice> {
  const { version: first } = system
  const built = await buildSystem(dir, { version: first, signal, onStep: note })
  note('a flashed card')
  const where = { system: built.dir, image: built.image, dir: join(dir, 'guest') }
  const guest = await Guest.flash({ id, bench, piAdu, ...where })
  // Who waits for words on the serial line learns that there will be none.
  signal.addEventListener('abort', () => void guest.powerCut(), { once: true })
  const layout = await readLayout()
  const { path } = guest.card
  // The card is a file with holes: only what was written takes room.
  const room = async () => (await stat(path)).blocks * 512
  const flashed = await room()
  let cause = ''
  let bundles = 0
  return {
    update: PI_UPDATE,
    patienceMs: 900_000,
    lookMs: 1000,
    async buildBundle({ version, healthChecks }, by) {
      if (version === first && !by) return built.bundle
      note(`system ${version}`)
      const changes = Object.entries(healthChecks).map(([name, text]) => [`etc/pi-adu/health.d/${name}`, text])
      const signedBy = by ? { ...built, signer: by } : built
      return bundleOf(signedBy, join(dir, `bundles-${++bundles}`), version, Object.fromEntries(changes))
    },
    fileUrls: update => urlsForGuest(bench, update),
    async powerOn() {
      cause = 'power on'
      await guest.powerOn()
    },
    powerCut: () => guest.powerCut(),
    follow({ onBoot, onEvent }, over) {
      const onLine = (line: string): void => {
        // By this machine's clock: the board's may be another.
        const at = Date.now()
        const [, slot, reason, , tries] = CHOICE.exec(`${line}\n`) ?? []
        if (slot && reason) {
          onBoot({ slot: slot as SlotName, reason, tries: Number(tries ?? 0), cause }, at)
          cause = 'restart'
        }
        const event = eventIn(line)
        if (event) onEvent(event, at)
      }
      return followLines(guest.serialLog, onLine, over)
    },
    async readBootState() {
      const sector = await guest.card.get('boot.env')
      return sector && decodeBootEnv(sector)
    },
    readVersion: async slot =>
      (await readFromImage(`${path}?offset=${layout[slot].start}`, '/etc/adu-version'))?.trim(),
    running: () => guest.running(),
    written: async () => ({ where: 'the card', bytes: (await room()) - flashed }),
  }
}
