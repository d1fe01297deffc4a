import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import test from 'node:test'
import { fileURLToPath } from 'node:url'

/**
 * What systemd does, in Python, as Node has no such sockets: it takes messages with the process id that the kernel vouches
 * for, and hands the service a connected socket where `OPEN` is set.
 */
const SYSTEMD = `
import fcntl, os, socket, struct, subprocess, sys, tempfile
path = os.path.join(tempfile.mkdtemp(), 'notify')
first = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
server = socket.socket(fileno=fcntl.fcntl(first.fileno(), fcntl.F_DUPFD, 10))
server.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
server.bind(path)
server.settimeout(20)
env = dict(os.environ, NOTIFY_SOCKET=path, WATCHDOG_USEC='600000')
keep = ()
if os.environ.get('OPEN'):
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    opened.connect(path)
    os.dup2(opened.fileno(), 3)
    keep = (3,)
    env.update(LISTEN_FDS='1', LISTEN_FDNAMES='notify')
    shell = 'export LISTEN_PID=$$; exec "$@"'
else:
    shell = 'exec "$@"'
child = subprocess.Popen(['sh', '-c', shell, 'sh'] + sys.argv[1:], env=env, pass_fds=keep)
for _ in range(int(os.environ['MESSAGES'])):
    try:
        data, extra, _, _ = server.recvmsg(4096, 256)
    except socket.timeout:
        print('silence', flush=True)
        break
    pid = struct.unpack('3i', extra[0][2])[0]
    print(data.decode(), 'self' if pid == child.pid else 'other', flush=True)
    server.settimeout(1.5)
child.kill()
`

const AGENT = `
import { tellSystemd } from '${join(dirname(fileURLToPath(import.meta.url)), '../../src/adapters/system/systemd.js')}'
const log = { debug() {}, info() {}, warn: (event, fields) => console.error(event, fields), error: (event, fields) => console.error(event, fields) }
const begun = performance.now()
tellSystemd(log, () => performance.now() - begun > Number(process.env.HEALTHY) ? 'a call hangs' : undefined)
setInterval(() => {}, 1000)
`

async function messages(environment: Record<string, string>): Promise<{ said: string[]; errors: string }> {
  const child = spawn('python3', ['-c', SYSTEMD, process.execPath, '--input-type=module', '-e', AGENT], {
    env: { ...process.env, ...environment },
  })
  let [out, errors] = ['', '']
  child.stdout.on('data', piece => {
    out += piece
  })
  child.stderr.on('data', piece => {
    errors += piece
  })
  await new Promise(resolve => child.once('close', resolve))
  return { said: out.trim().split('\n'), errors }
}

test('the watchdog is fed by the agent itself, over a socket that systemd has opened', async () => {
  const { said, errors } = await messages({ OPEN: '1', MESSAGES: '4', HEALTHY: '60000' })
  assert.deepEqual(said, ['READY=1 self', 'WATCHDOG=1 self', 'WATCHDOG=1 self', 'WATCHDOG=1 self'], errors)
})

test('a loop that hangs is not reported alive, and that is said once', async () => {
  const { said, errors } = await messages({ OPEN: '1', MESSAGES: '20', HEALTHY: '500' })
  assert.deepEqual(said.slice(0, 2), ['READY=1 self', 'WATCHDOG=1 self'], errors)
  assert.equal(said.at(-1), 'silence')
  assert.ok(said.length < 6, said.join())
  assert.equal(errors.match(/watchdog\.not-fed/g)?.length, 1, errors)
})

const withProgram = existsSync('/usr/bin/systemd-notify') ? {} : { skip: 'systemd-notify is not installed' }
test('without such a socket systemd-notify is run', withProgram, async () => {
  const { said, errors } = await messages({ MESSAGES: '4', HEALTHY: '60000' })
  const states = said.map(line => line.split(' ')[0])
  assert.equal(states[0], 'READY=1', errors)
  assert.ok(states.includes('WATCHDOG=1'), said.join())
})
