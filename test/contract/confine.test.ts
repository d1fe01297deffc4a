import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { chmod, mkdir, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { confinement } from '../../src/adapters/swupdate/confine.ts'
import { Swupdate } from '../../src/adapters/swupdate/swupdate.ts'
import type { Bundle } from '../../src/ports/installer.ts'
import { bundleOf, descriptionOf, imageOf } from '../bundle/archive.ts'

const dir = await mkdtemp(join(tmpdir(), 'confine-'))
after(() => rm(dir, { recursive: true }))
process.env.PATH += ':/usr/sbin:/sbin'

const lines: { event: string; fields: Record<string, unknown> }[] = []
const note = (event: string, fields = {}): void => void lines.push({ event, fields })
const log = { debug: note, info: note, warn: note, error: note }
const confine = await confinement('auto', log)
const confined = lines.some(({ event }) => event === 'swupdate.confined')

test('one line of the log says whether SWUpdate is confined', async () => {
  assert.equal(lines.filter(({ event }) => event.startsWith('swupdate.')).length, 1)
  lines.length = 0
  await confinement('off', log)
  assert.deepEqual(
    lines.map(({ event }) => event),
    ['swupdate.not-confined'],
  )
})

test('where it cannot be had, "auto" says why and goes on, and "require" stops the start', async () => {
  const path = process.env.PATH
  process.env.PATH = dir
  lines.length = 0
  try {
    assert.deepEqual((await confinement('auto', log))(['program', 'word'], {}), ['program', 'word'])
    assert.match(String(lines[0]?.fields.why), /^SWUpdate can open what the agent can: setpriv is not installed/)
    await assert.rejects(confinement('require', log), { name: 'ConfigError', message: /setpriv is not installed/ })
  } finally {
    process.env.PATH = path
  }
})

suite('Landlock', { skip: confined ? false : 'not on this kernel' }, () => {
  const sh = async (command: string, grants = {}): Promise<boolean> => {
    const [program, ...words] = confine(['/bin/bash', '-c', command], grants)
    return promisify(execFile)(program, words, { timeout: 20_000 }).then(
      () => true,
      () => false,
    )
  }

  test('a program opens what it was granted, and nothing else', async () => {
    const [own, other] = [join(dir, 'own'), join(dir, 'other')]
    await Promise.all([mkdir(own), mkdir(other)])
    await writeFile(join(other, 'one'), 'one')
    await writeFile(join(other, 'two'), 'two')
    const grants = { own: [own], read: [join(other, 'one')], write: [join(other, 'not-there')] }
    assert.ok(await sh('true', grants))
    assert.ok(await sh(`echo x > ${own}/x; mkdir ${own}/y; mkfifo ${own}/y/z; rm -r ${own}/y; [ -s ${own}/x ]`, grants))
    assert.ok(await sh(`grep -q one ${other}/one`, grants))
    assert.ok(!(await sh(`cat ${other}/two`, grants)))
    assert.ok(!(await sh(`cat ${own}/../other/two`, grants)))
    assert.ok(!(await sh(`ln -s ${other}/two ${own}/link && cat ${own}/link`, grants)))
    assert.ok(!(await sh(`ln ${other}/two ${own}/hard && cat ${own}/hard`, grants)))
    assert.ok(!(await sh(`echo > ${other}/one`, grants)))
    assert.ok(!(await sh(`ls ${other}`, grants)))
    assert.ok(!(await sh(`: > ${other}/new`, grants)))
    assert.ok(!(await sh(`: > ${other}/not-there`, grants)))
    assert.ok(await sh(`echo new > ${other}/two`, { write: [join(other, 'two')] }))
  })

  test('it cannot look into the agent, and connects to nothing', async () => {
    assert.ok(!(await sh(`cat /proc/${process.pid}/environ`)))
    assert.ok(!(await sh(`cat /proc/${process.pid}/root/etc/passwd`)))
    const server = createServer(socket => socket.end()).listen(0, '127.0.0.1')
    await new Promise(resolve => server.once('listening', resolve))
    const { port } = server.address() as { port: number }
    const landlock = Number(lines.find(({ event }) => event === 'swupdate.confined')?.fields.landlock ?? 7)
    try {
      if (landlock >= 4) assert.ok(!(await sh(`exec 3<>/dev/tcp/127.0.0.1/${port}`)))
      if (landlock >= 6) assert.ok(!(await sh(`kill -0 ${process.pid}`)))
    } finally {
      server.close()
    }
  })

  test('it ends with the agent, however that ends', async () => {
    const own = join(dir, 'orphan')
    await mkdir(own)
    const argv = confine(['/bin/bash', '-c', `echo $$ > ${own}/pid; exec sleep 60`], { own: [own] })
    const program = `require('child_process').spawn(${JSON.stringify(argv[0])}, ${JSON.stringify(argv.slice(1))}, { detached: true, stdio: 'ignore' }); setInterval(() => {}, 1000)`
    const agent = spawn(process.execPath, ['-e', program], { stdio: 'ignore' })
    const pid = async (): Promise<string> => (await readFile(join(own, 'pid'), 'utf8').catch(() => '')).trim()
    /** One that has ended stays in /proc until somebody waits for it, which nobody may do in a container (proc_pid_stat(5)). */
    const comm = async (): Promise<string> => {
      const stat = await readFile(`/proc/${await pid()}/stat`, 'utf8').catch(() => '')
      const [, name = '', state = 'Z'] = /\((.*)\) (\w)/.exec(stat) ?? []
      return state === 'Z' || state === 'X' ? 'gone' : name
    }
    while ((await pid()) === '') await sleep(20)
    assert.match(await comm(), /bash|sleep/)
    agent.kill('SIGKILL')
    for (let waited = 0; waited < 10_000 && (await comm()) !== 'gone'; waited += 50) await sleep(50)
    assert.equal(await comm(), 'gone')
  })

  const image = Buffer.alloc(100_000)
  const bundleFor = (device: string): Buffer =>
    bundleOf(descriptionOf(`images: ( ${imageOf('image', image, '', device)} );`), ['image', image])

  /** In place of SWUpdate: says in SWUpdate's way what it can do. */
  async function insideSwupdate({ compare = true, by = confine, named = 'pi-adu/b', more = {} }): Promise<string[]> {
    const device = join(dir, 'device')
    await rm(device, { recursive: true, force: true })
    await mkdir(join(device, 'data'), { recursive: true })
    const file = (name: string): string => join(device, name)
    for (const name of ['du-config.json', 'data/journal.json', 'data/leftover', 'boot.env', 'a.img', 'cert.pem']) {
      await writeFile(file(name), 'something')
    }
    await writeFile(file('b.img'), '')
    await truncate(file('b.img'), 1 << 20)
    const tries: [string, string][] = [
      ['its certificate', `cat ${file('cert.pem')}`],
      ['its folder', 'echo > new && rm new'],
      ['the key', `cat ${file('du-config.json')}`],
      ['the journal', `cat ${file('data/journal.json')}`],
      ['the journal, written', `echo >> ${file('data/journal.json')}`],
      ['the leftover note', `cat ${file('data/leftover')}`],
      ['the boot state', `echo >> ${file('boot.env')}`],
      ['the running slot', `echo >> ${file('a.img')}`],
      ['the slot', `echo 1<> ${file('b.img')}`],
      ['the slot, read', `head -c 1 ${file('b.img')}`],
      ['users', 'cat /etc/passwd'],
      ['the temporary folder', `: > ${join(tmpdir(), 'new')}`],
    ]
    const script = tries.map(([what, command]) => `(${command}) >/dev/null 2>&1 && echo "[ERROR] : can: ${what}"`)
    const bin = join(dir, 'bin')
    await mkdir(bin, { recursive: true })
    await writeFile(join(bin, 'swupdate'), `#!/bin/bash\n${script.join('\n')}\nexit 1\n`)
    await chmod(join(bin, 'swupdate'), 0o755)
    const path = process.env.PATH
    process.env.PATH = `${bin}:${path}`
    const options = {
      ...{ certificate: file('cert.pem'), hardware: undefined, selection: { a: 'stable,a', b: 'stable,b' } },
      ...{ device: { a: file('a.img'), b: file('b.img') }, compare, confine: by, allow: [] },
      ...{ keyFile: undefined, writable: [], stall: 60_000, ...more },
    }
    try {
      lines.length = 0
      async function* bundle(): AsyncGenerator<Buffer> {
        yield bundleFor(named)
      }
      const installed = new Swupdate(options, log).install(
        bundle() as unknown as Bundle,
        'b',
        AbortSignal.timeout(60_000),
      )
      await assert.rejects(installed, { code: 'SWUPDATE_FAILED' })
    } finally {
      process.env.PATH = path
    }
    return lines.flatMap(({ fields }) => /^can: (.*)/.exec(String(fields.line))?.[1] ?? [])
  }

  test('SWUpdate reads neither key nor journal, and writes neither slot nor boot state', async () => {
    assert.deepEqual(await insideSwupdate({}), ['its certificate', 'its folder'])
  })

  test('without confinement all of these can be opened', async () => {
    assert.equal((await insideSwupdate({ by: argv => argv })).length, 12)
  })

  test('where it writes the slot itself, that one device is open to it, and nothing else', async () => {
    const slot = ['its certificate', 'its folder', 'the slot', 'the slot, read']
    assert.deepEqual(await insideSwupdate({ compare: false }), slot)
    assert.deepEqual(await insideSwupdate({ named: join(dir, 'device/b.img') }), slot)
  })

  test('the owner can open more to it, by name', async () => {
    const more = { writable: [join(dir, 'device/boot.env')], keyFile: join(dir, 'device/du-config.json') }
    const opened = ['its certificate', 'its folder', 'the key', 'the boot state']
    assert.deepEqual(await insideSwupdate({ more }), opened)
  })
})
