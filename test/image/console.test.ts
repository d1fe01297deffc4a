import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { repositoryRoot } from '../../image/builder/repository.ts'
import { AgentState } from '../../src/adapters/files/agent-state.ts'
import { Publisher } from '../../src/control/publisher.ts'
import type { Log } from '../../src/ports/log.ts'

const home = mkdtempSync(join(tmpdir(), 'console-'))
after(() => rmSync(home, { recursive: true, force: true }))

/** In place of systemctl and ip: what they would say on a device. */
function program(name: string, text: string): void {
  mkdirSync(join(home, 'bin'), { recursive: true })
  writeFileSync(join(home, 'bin', name), `#!/bin/sh\n${text}\n`)
  chmodSync(join(home, 'bin', name), 0o755)
}
const agentFailed = (yes: boolean): void => program('systemctl', `exit ${yes ? 0 : 3}`)
agentFailed(false)
program('mountpoint', 'exit 0')
program('ip', 'echo "lo UNKNOWN"; echo "end0@if2 UP 192.168.1.17/24 2001:db8::17/64"')

/** What one run of image/rootfs/usr/lib/pi-adu/console writes to the console. */
function said(patience = 0): string {
  const line = join(home, 'console')
  rmSync(line, { force: true })
  const argv = [
    join(home, 'agent.json'),
    join(home, 'du-config.json'),
    line,
    String(patience),
    join(home, 'said'),
    join(home, 'trouble'),
  ]
  const { status, stderr } = spawnSync(join(repositoryRoot(), 'image/rootfs/usr/lib/pi-adu/console'), argv, {
    env: { PATH: `${join(home, 'bin')}:/usr/bin:/bin` },
    encoding: 'utf8',
  })
  assert.equal(`${stderr}${status}`, '0')
  return existsSync(line) ? readFileSync(line, 'utf8') : ''
}

const none: Log = { debug() {}, info() {}, warn() {}, error() {} }

/** An agent that has just started, and whose connection comes and goes as the test wants it. */
function anAgent() {
  const hub = { connected: false, since: 1, why: 'the agent has just started' }
  const publisher = new Publisher(none, { first: { hub } })
  const state = new AgentState(join(home, 'agent.json'), none)
  publisher.watch({ onView: view => state.show(view) })
  state.show(publisher.view)
  return {
    connect: () => publisher.tell({ event: 'hub.connected' }),
    lose: (why: string) => publisher.tell({ event: 'hub.lost', why, retryInMs: 1 }),
    identify: (isWanted: boolean) => publisher.change(view => ({ ...view, identifyUntil: isWanted ? 9 : null })),
    end: () => state.end(),
  }
}

const CONFIG = JSON.stringify({
  connectionData: 'GatewayHostName=gateway;HostName=my-hub.azure-devices.net;DeviceId=pi1;SharedAccessKey=a2V5',
})

test('a data partition that cannot be mounted is said, not taken for a card without a configuration', () => {
  program('mountpoint', '[ "$*" = "-q /data" ] && exit 32')
  assert.match(said(), /pi-adu: the data partition cannot be mounted: this card has to be flashed again, address /)
  program('mountpoint', 'exit 0')
})

test('one line says whether the device is connected, and its address; again only when it changes', async () => {
  assert.match(said(), /^\[ *\d+\.\d\d\] pi-adu: no configuration: put du-config.json .*, address .*\r\n$/)
  writeFileSync(join(home, 'du-config.json'), CONFIG)
  assert.match(said(), /pi-adu: not connected: the agent is starting, address/)
  agentFailed(true)
  assert.match(said(), /pi-adu: the agent has failed: see journalctl -u pi-adu-agent, address/)
  agentFailed(false)

  const { connect, lose, end, identify } = anAgent()
  assert.match(said(), /pi-adu: not connected to my-hub\.azure-devices\.net: the agent has just started, address/)
  lose('says "no" \u001b[31m\u009b\nand ends')
  const refused = said()
  assert.match(refused, /net: says \\"no\\" .*and ends, address 192\.168\.1\.17 \(end0\)\r\n$/)
  assert.doesNotMatch(refused.trimEnd(), /\p{Cc}/u)
  connect()
  const connected = 'pi-adu: connected to my-hub.azure-devices.net as pi1, address 192.168.1.17 (end0)\r\n'
  assert.ok(said().endsWith(`] ${connected}`))
  assert.equal(said(), '')
  identify(true)
  assert.match(said(), /pi-adu: this is the device that somebody asked for; connected to my-hub\S* as pi1, address/)
  identify(false)
  assert.ok(said().endsWith(`] ${connected}`))
  lose('no answer')
  assert.match(said(), /pi-adu: not connected to my-hub\.azure-devices\.net: no answer, address/)
  program('ip', 'true')
  assert.match(said(), /: no answer, no address\r\n$/)
  end()
  assert.match(said(), /the agent is starting/)
})

test('a file that is cut off says nothing', () => {
  const { connect, end } = anAgent()
  connect()
  const whole = readFileSync(join(home, 'agent.json'), 'utf8').trimEnd()
  assert.match(whole, /"connected":true/)
  for (const length of [
    1,
    9,
    ...Array.from({ length: 8 }, (_, at) => whole.indexOf('"connected"') + 4 * at),
    whole.length - 1,
  ]) {
    rmSync(join(home, 'said'), { force: true })
    writeFileSync(join(home, 'agent.json'), whole.slice(0, length))
    assert.match(said(), /pi-adu: not known whether it is connected: .*agent\.json is damaged, /, `${length}`)
  }
  end()
})

test('a connection that comes back soon is not worth a line', async () => {
  const { connect, lose } = anAgent()
  connect()
  const back = readFileSync(join(home, 'agent.json'), 'utf8')
  assert.match(said(), /: connected to my-hub/)
  lose('replaced')
  writeFileSync(join(home, 'back.json'), back)
  const later = spawn('sh', ['-c', 'sleep 1; mv "$0/back.json" "$0/agent.json"', home], { stdio: 'ignore' })
  assert.equal(said(20), '')
  await once(later, 'exit')
})

test('a device that is in no WLAN says why, also without a configuration; one that is connected does not', async () => {
  for (const name of ['agent.json', 'du-config.json']) rmSync(join(home, name), { force: true })
  writeFileSync(join(home, 'trouble'), '#!/bin/sh\necho "WLAN Pi Net: the password is wrong"\n', { mode: 0o755 })
  assert.match(said(1), /no configuration: [^\n]*, WLAN Pi Net: the password is wrong\r\n$/)
  writeFileSync(join(home, 'du-config.json'), CONFIG)
  const { connect, lose, end } = anAgent()
  lose('no answer')
  assert.match(said(), /: no answer, [^\n]*, WLAN Pi Net: the password is wrong\r\n$/)
  connect()
  assert.match(said(), /: connected to my-hub[^W]*\r\n$/)
  end()
  rmSync(join(home, 'trouble'))
})
