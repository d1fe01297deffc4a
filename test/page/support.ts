import { request } from 'node:http'
import { type AddressInfo, createServer } from 'node:net'
import { uptime } from 'node:os'
import { text } from 'node:stream/consumers'
import type { TestContext } from 'node:test'
import { openPage } from '../../src/cli/page.ts'
import { checkedConfig } from '../../src/config/config.ts'
import { valueAt } from '../../src/config/setting.ts'
import { least } from '../config/examples.ts'
import { aServer, until } from '../control/support.ts'

export const PIN = 'open-5esame'

/** A port that nobody had a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise(resolve => server.close(resolve))
  return port
}

/** The page of a publisher that the test tells what happens, with real sockets. */
export async function aPage(
  t: TestContext,
  more: { page?: object; pin?: string | null; piAdu?: object; file?: string; hears?: boolean } = {},
) {
  const control = await aServer(t)
  const port = await freePort()
  const { pin = PIN } = more
  const page = { address: '127.0.0.1', port, ...(pin === null ? {} : { pin }), ...more.page }
  const given = { ...least(), piAdu: { gates: { consentFor: 'install' }, ...more.piAdu, page } }
  const { config } = checkedConfig(given, 'du-config.json')
  const whole = { ...config, hasSlots: true } as unknown as Parameters<typeof openPage>[1]
  const { publisher, requests, lines } = control
  const log = logTo(lines)
  const address = String(valueAt(config, ['piAdu', 'page', 'address']))
  const close = await openPage(more.file ?? '/nonexistent/du-config.json', whole, address, publisher, requests, log)
  t.after(close)
  if (more.hears !== false) await until(() => publisher.view.page?.why === null, 'the page to listen')
  return { ...control, close, port, url: publisher.view.page?.url ?? '' }
}

const logTo = (lines: (readonly [string, string, unknown])[]) => {
  const to = (level: string) => (event: string, fields?: unknown) => void lines.push([level, event, fields])
  return { debug: to('debug'), info: to('info'), warn: to('warn'), error: to('error') }
}

export interface Answered {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: string
}

/** A request by hand, with any header. Its own address is the Host, and for POST the Origin, unless `headers` says otherwise. */
export function ask(
  port: number,
  path: string,
  { method = 'GET', headers = {}, form }: { method?: string; headers?: Record<string, string>; form?: string } = {},
): Promise<Answered> {
  const host = `127.0.0.1:${port}`
  const own = method === 'GET' ? { host } : { host, origin: `http://${host}` }
  return new Promise((resolve, reject) => {
    const call = request(
      { port, host: '127.0.0.1', path, method, agent: false, headers: { ...own, ...headers } },
      got => {
        text(got).then(
          body => resolve({ status: got.statusCode ?? 0, headers: got.headers, body }),
          error => reject(error),
        )
      },
    )
    call.on('error', reject)
    call.end(form)
  })
}

/** Posts the form of the page. */
export const order = (port: number, path: string, pin: string, headers: Record<string, string> = {}) =>
  ask(port, path, { method: 'POST', headers, form: new URLSearchParams({ pin }).toString() })

/** What the loop would have seen: an update to slot b that waits for consent, with the numbers of the picture. */
export function anUpdate(publisher: Awaited<ReturnType<typeof aPage>>['publisher']): void {
  publisher.change(view => ({
    ...view,
    agent: { version: '1.0.0', pid: 1, since: uptime() - 3600 },
    boot: { booted: 'a', primary: 'a', trial: 'none', tries: 0 },
    slots: { a: { version: '1.0.0', partial: false }, b: { version: '0.9.0', partial: false } },
    hub: { connected: true, since: uptime() - 3590, why: null },
    phase: 'waiting',
    waitsFor: { what: 'consent', why: 'for consent to install', until: null },
    deployment: {
      workflowId: '7f0c',
      action: 3,
      origin: 'deviceUpdate',
      updateId: { provider: 'contoso', name: 'till', version: '2.0.0' },
      version: '2.0.0',
      ...{ installs: 0, reboots: 0, installedTo: null, milestones: [], ended: false },
    },
  }))
}
