import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Log } from '../../../src/ports/log.ts'
import type { Bench } from '../bench.ts'
import { Followed } from '../web/followed.ts'
import { guestCard } from '../web/guest.ts'
import { type BenchOnPage, type Button, openWebPage, type ShownDevice } from '../web/web.ts'

/** Milliseconds between two looks at what nobody tells of: the power, and devices in QEMU. */
const LOOK = 1000

/** What the page needs of the bench: the device of the workbench, those in QEMU, and the orders. */
export interface Desk {
  readonly bench: Bench
  readonly id: string
  readonly controlSocket: string
  readonly isOn: () => boolean
  readonly guests: () => Promise<readonly string[]>
  readonly press: (button: Button, id: string) => Promise<string>
}

/** The bench's page, which is opened at most once. */
export class WebPage {
  readonly #desk: Desk
  readonly #portFile: string
  readonly #log: Log
  #shown: BenchOnPage | undefined
  #opened: { readonly address: string; readonly url: Promise<string> } | undefined

  constructor(desk: Desk, dir: string, log: (line: string) => void) {
    this.#desk = desk
    this.#portFile = join(dir, 'web-port')
    const write = (event: string, fields?: object): void => log(`${event} ${JSON.stringify(fields ?? {})}`)
    this.#log = { debug: () => {}, info: write, warn: write, error: write }
  }

  /** Its URL; null while it is closed. */
  get url(): Promise<string> | null {
    return this.#opened?.url ?? null
  }

  /** Returns its URL. Errors: why it cannot be there. */
  async open(address: string): Promise<string> {
    if (this.#opened && this.#opened.address !== address)
      throw new Error(`the page is at ${await this.#opened.url} already: scripts/bench down, then up, moves it`)
    this.#opened ??= { address, url: this.#open(address) }
    return this.#opened.url.catch(error => {
      this.#opened = undefined
      throw error
    })
  }

  /** It has the port of last time, where that is still free. */
  async #open(address: string): Promise<string> {
    // Once: after an address that could not be used, the followers of the first try serve the next.
    this.#shown ??= this.#show()
    const shown = this.#shown
    const last = Number(await readFile(this.#portFile, 'utf8').catch(() => '0'))
    const url = await openWebPage(shown, address, last, this.#log).catch(error => {
      if (last === 0) throw error
      return openWebPage(shown, address, 0, this.#log)
    })
    await writeFile(this.#portFile, new URL(url).port)
    return url
  }

  #show(): BenchOnPage {
    const { bench, id, controlSocket, isOn, press } = this.#desk
    const watchers = new Set<() => void>()
    const changed = (): void => {
      for (const each of watchers) each()
    }
    const followed = new Followed(id, controlSocket, changed)
    let guests: readonly string[] = []
    setInterval(async () => {
      guests = await this.#desk.guests()
      changed()
    }, LOOK).unref()
    const devices = (): ShownDevice[] => {
      const on = isOn()
      const trouble = !on ? 'no power' : followed.answers ? '' : 'no connection to the agent'
      return [
        { id, card: followed.card(), trouble, can: ['deploy', 'cancel', on ? 'cut' : 'on'] },
        ...guests.map(guest => ({
          id: guest,
          card: guestCard(guest, bench.hub.getTwin(guest).properties.reported),
          trouble: bench.hub.isConnected(guest) ? '' : 'not connected to the hub',
          can: ['cancel'] as const,
        })),
      ]
    }
    const watch = (call: () => void): (() => void) => {
      watchers.add(call)
      return () => void watchers.delete(call)
    }
    return { devices, watch, press }
  }
}
