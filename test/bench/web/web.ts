import { hostname } from 'node:os'
import { messageOf } from '../../../src/domain/errors.ts'
import { Feed } from '../../../src/page/feed.ts'
import { objectionTo } from '../../../src/page/guard.ts'
import { type Assets, formOf, STYLES, say, setHeaders, show } from '../../../src/page/page.ts'
import { type Limits, serveHttp } from '../../../src/page/server.ts'
import type { Card } from '../../../src/page/state.ts'
import type { Log } from '../../../src/ports/log.ts'
import { HTML, SCRIPT } from './assets.ts'

export type Button = 'deploy' | 'cancel' | 'cut' | 'on'

export interface ShownDevice {
  readonly id: string
  readonly card: Omit<Card, 'light'> & { readonly light: Card['light'] | null }
  /** Why the card is an old one; empty when it is not. */
  readonly trouble: string
  readonly can: readonly Button[]
}

/** What the page shows, and what its buttons do: each answers with a sentence, or rejects with why not. */
export interface BenchOnPage {
  devices(): readonly ShownDevice[]
  watch(changed: () => void): () => void
  press(button: Button, id: string): Promise<string>
}

const ASSETS: Assets = { '/': ['text/html', HTML], '/script.js': ['text/javascript', SCRIPT], ...STYLES }

/** Paths of the orders, and the buttons that use them. */
const ORDERS: Readonly<Record<string, readonly Button[]>> = {
  '/deploy': ['deploy'],
  '/cancel': ['cancel'],
  '/power': ['cut', 'on'],
}

/**
 * Serves the page of all bench devices, without a password. Only the page itself can press its buttons, by the rules of the agent's local
 * page. Resolves with its URL once it listens; rejects with why it cannot. `until`: ends it. `limits`: for tests.
 */
export function openWebPage(
  bench: BenchOnPage,
  address: string,
  port: number,
  log: Log,
  until?: AbortSignal,
  limits: Partial<Limits> = {},
): Promise<string> {
  const name = hostname().toLowerCase()
  const names = new Set(['localhost', name, `${name}.local`])
  const source = { state: () => bench.devices(), watch: (changed: () => void) => bench.watch(changed) }
  const feed = new Feed(source, log)
  return new Promise((resolve, reject) => {
    let hasListened = false
    const onChange = (url: string, why: string | undefined): void => {
      if (why === undefined) {
        hasListened = true
        resolve(url)
        // Later it tries again by itself.
      } else if (!hasListened) {
        setImmediate(end)
        reject(new Error(`the page cannot be at ${url}: ${why}`))
      }
    }
    const end = serveHttp({ address, port, onChange, limits }, answer, log)
    until?.addEventListener('abort', () => {
      feed.end()
      end()
    })
  })

  async function answer(...[request, response]: Parameters<Parameters<typeof serveHttp>[1]>): Promise<void> {
    setHeaders(response)
    const objection = objectionTo(request, names)
    if (objection) return say(response, objection.status, objection.why)
    const { method = '', url = '' } = request
    const buttons = Object.hasOwn(ORDERS, url) ? ORDERS[url] : undefined
    if (buttons) {
      if (method !== 'POST') return say(response, 405, 'use POST', { allow: 'POST' })
      const form = await formOf(request)
      if (!form) return say(response, 413, 'the form is too long', { connection: 'close' })
      const button = buttons.find(each => buttons.length === 1 || each === form.get('how'))
      const device = bench.devices().find(({ id }) => id === form.get('device'))
      if (!button || !device?.can.includes(button)) return say(response, 409, 'this device cannot do that now')
      return bench.press(button, device.id).then(
        done => say(response, 200, done),
        error => say(response, 409, messageOf(error)),
      )
    }
    show(request, response, ASSETS, source, feed)
  }
}
