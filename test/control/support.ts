import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { TestContext } from 'node:test'
import { SystemConditions } from '../../src/adapters/system/conditions.ts'
import { SystemGates } from '../../src/adapters/system/local-gates.ts'
import { Publisher } from '../../src/control/publisher.ts'
import { type Engine, Requests } from '../../src/control/requests.ts'
import { serveControl } from '../../src/control/server.ts'
import type { Log } from '../../src/ports/log.ts'

/** [level, event, fields] of every line. */
export type Lines = (readonly [string, string, unknown])[]

export function aLog(): { readonly log: Log; readonly lines: Lines } {
  const lines: Lines = []
  const to = (level: string) => (event: string, fields?: unknown) => void lines.push([level, event, fields])
  return { log: { debug: to('debug'), info: to('info'), warn: to('warn'), error: to('error') }, lines }
}

/** A server that goes with the test. */
export async function aServer(
  t: TestContext,
  more: { dir?: string; secrets?: readonly string[]; asksNobody?: boolean; engine?: Partial<Engine> } = {},
) {
  const dir = more.dir ?? (await mkdtemp(join(tmpdir(), 'control-')))
  const path = join(dir, 'control.sock')
  const { log, lines } = aLog()
  const agent = { version: '9.9', pid: process.pid, since: performance.now() }
  const publisher = new Publisher(log, { secrets: more.secrets ?? [], first: { agent, phase: 'starting' } })
  const gateFiles = {
    locks: join(dir, 'locks'),
    consentFile: join(dir, 'consent'),
    timeSyncFile: join(dir, 'synchronized'),
    time: { behind: () => 0, built: 0 },
  }
  const gates = new SystemGates({ ...gateFiles, ...(more.asksNobody ? {} : { consentFor: 'install' }) })
  let woken = 0
  const wake = (): void => {
    woken += 1
  }
  const install: Engine['install'] = async () => ({ is: 'refused', why: 'not in this test', code: '' })
  const engine = { wake, ask: async () => ({ is: 'begun' }) as const, install, ...more.engine }
  const requests = new Requests(gates, publisher, engine, log)
  const close = await serveControl(path, publisher, requests, log)
  t.after(async () => {
    close()
    await rm(dir, { recursive: true, force: true })
  })
  return {
    ...{ dir, path, publisher, lines, close, requests, gates },
    conditions: new SystemConditions({ ...gateFiles, held: () => gates.held, sys: dir }),
    /** How often the loop was asked to look again. */
    get woken() {
      return woken
    },
  }
}

/** A plain client; what it was sent is collected, unless it does not read. */
export async function aClient(t: TestContext, path: string, { reads = true } = {}) {
  const socket: Socket = connect(path)
  t.after(() => void socket.destroy())
  let text = ''
  let over = false
  socket.on('error', () => {})
  const closed = new Promise<void>(resolve =>
    socket.once('close', () => {
      over = true
      resolve()
    }),
  )
  if (reads) socket.setEncoding('utf8').on('data', chunk => (text += chunk))
  await new Promise(resolve => {
    socket.once('connect', resolve)
    socket.once('close', resolve)
  })
  const lines = (): unknown[] =>
    text
      .split('\n')
      .slice(0, -1)
      .map(line => JSON.parse(line))
  return {
    socket,
    closed,
    lines,
    get over() {
      return over
    },
  }
}

/** Asked again and again; fails after a time that no working machine needs. */
export async function until(check: () => boolean, what: string): Promise<void> {
  for (const limit = Date.now() + 60_000; !check(); await new Promise(resolve => setTimeout(resolve, 5))) {
    if (Date.now() > limit) throw new Error(`waited in vain for ${what}`)
  }
}

/** A configuration with this socket. */
export async function configFor(controlSocket: string): Promise<string> {
  const file = join(dirname(controlSocket), 'du-config.json')
  const connectionData = 'HostName=hub.example.com;DeviceId=pi1;SharedAccessKey=a2V5a2V5a2V5a2V5'
  const names = { manufacturer: 'contoso', model: 'pi' }
  const agents = [{ name: 'main', ...names, connectionSource: { connectionType: 'string', connectionData } }]
  await writeFile(file, JSON.stringify({ schemaVersion: '1.1', ...names, agents, piAdu: { controlSocket } }), {
    mode: 0o600,
  })
  return file
}
