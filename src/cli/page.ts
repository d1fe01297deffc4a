import { hostname, uptime } from 'node:os'
import type { Writable } from 'node:stream'
import { readInstalledLayers } from '../adapters/files/layers.ts'
import type { Config } from '../config/config.ts'
import { lightsOf } from '../config/sections/leds.ts'
import type { Publisher } from '../control/publisher.ts'
import type { Requests } from '../control/requests.ts'
import { servePage } from '../page/page.ts'
import type { PageState } from '../page/state.ts'
import type { Log } from '../ports/log.ts'
import { cardOf } from './page-card.ts'

/** MiB of the page's support bundle before compression. */
const BUNDLE = 16

/** Serves the local page of this device. Returns a function that ends it. */
export async function openPage(
  file: string,
  config: Config,
  address: string,
  publisher: Publisher,
  requests: Pick<Requests, 'answer'>,
  log: Log,
): Promise<() => void> {
  const { page, layersFile, leds, gates } = config.piAdu
  const layers = await readInstalledLayers(layersFile)
  const lights = lightsOf(leds).map(each => ({
    role: each.role,
    name: 'gpio' in each ? `GPIO ${each.gpio}` : each.led,
  }))
  const host = hostname()
  const card = cardOf({ host, lights, layers, hasSlots: config.hasSlots })
  // Whoever looks at the page does not take locks.
  const { signal } = new AbortController()
  const device = {
    state(): PageState {
      const { view } = publisher
      return {
        ...card(view, publisher.recent(0)),
        pin: page.pin !== undefined,
        consent: gates.consentFor !== undefined && view.deployment !== null && !view.deployment.ended,
      }
    },
    watch: (changed: () => void) => publisher.watch({ onView: changed, onEvent: changed }),
    consent: () => requests.answer({ do: 'consent' }, signal),
    bundle: async (out: Writable, until: AbortSignal) =>
      (await import('./logs/collect.ts')).writeBundle(file, BUNDLE, out, until),
  }
  const name = host.toLowerCase()
  const options = {
    ...{ address, port: page.port, pin: page.pin, now: uptime },
    names: ['localhost', name, `${name}.local`, ...page.names],
    onChange: (url: string, why: string | undefined) =>
      publisher.change(view => ({ ...view, page: { url, why: why ?? null } })),
  }
  return servePage(device, options, log)
}
