import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chown, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import test, { after } from 'node:test'
import { fileURLToPath } from 'node:url'
import { lockDataFolder } from '../../src/adapters/files/data-lock.ts'

const folder = await mkdtemp(join(tmpdir(), 'lock-'))
after(() => rm(folder, { recursive: true }))
const module = join(dirname(fileURLToPath(import.meta.url)), '../../src/adapters/files/data-lock.js')

/** A process that takes the lock and keeps it, or says why it cannot. */
async function holder(of: string) {
  const text = `import { lockDataFolder } from '${module}'
    await lockDataFolder('${of}').then(() => console.log('held'), error => console.log(error.name + ': ' + error.message))
    setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', text], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [said] = await once(child.stdout, 'data')
  const kill = async () => {
    child.kill('SIGKILL')
    await once(child, 'close')
  }
  return { pid: child.pid, said: String(said).trim(), kill }
}

test('one process has the folder; another is told which, and gets it as soon as that one is gone, however it ended', async () => {
  const of = join(folder, 'data')
  const first = await holder(of)
  assert.equal(first.said, 'held')
  const second = await holder(of)
  assert.match(
    second.said,
    new RegExp(`^InUseError: an agent runs on .*/data already: process ${first.pid}\\. Stop it`),
  )
  await second.kill()
  await first.kill()
  const third = await holder(of)
  assert.equal(third.said, 'held')
  await third.kill()
})

test('programs that the holder starts do not keep the lock', async () => {
  const of = join(folder, 'children')
  const text = `import { lockDataFolder } from '${module}'
    import { spawn } from 'node:child_process'
    await lockDataFolder('${of}')
    const child = spawn('sleep', ['30'], { detached: true, stdio: 'ignore' })
    child.unref()
    console.log(child.pid)
    setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', text], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [said] = await once(child.stdout, 'data')
  child.kill('SIGKILL')
  await once(child, 'close')
  await lockDataFolder(of)
  process.kill(Number(said), 'SIGKILL')
})

const asRoot = process.getuid?.() === 0 ? {} : { skip: 'only root can give a folder away' }
test('root does not write into the folder of another user', asRoot, async () => {
  const of = await mkdtemp(join(folder, 'owned-'))
  await chown(of, 65_534, 65_534)
  await assert.rejects(lockDataFolder(of), {
    name: 'WrongUserError',
    message: /belongs to the user nobody.*sudo -u nobody/,
  })
  assert.deepEqual(await readdir(of), [])
})

test('a folder that cannot be made is a mistake of the configuration', () =>
  assert.rejects(lockDataFolder('/dev/null/nowhere'), {
    name: 'ConfigError',
    message: /^the data folder \/dev\/null\/nowhere/,
  }))
