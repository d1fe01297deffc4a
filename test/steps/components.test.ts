import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmod, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { componentsOf } from '../../src/steps/components.ts'
import { settingsIn } from '../../src/steps/settings.ts'
import { unitRunner } from '../../src/steps/unit-runner.ts'
import type { Workers } from '../../src/steps/worker.ts'
import { CHILD_MANIFEST, childOf, parentOf } from '../bench/authoring/child.ts'
import { answerOf, aService, NEVER, scriptRunner, signed } from './support.ts'

async function aFolder(t: TestContext): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'components-'))
  t.after(() => rm(dir, { recursive: true, force: true }))
  return dir
}

const LIST = {
  components: [
    { id: 'left', group: 'motors', properties: { path: '/dev/left' } },
    { id: 'cam', group: 'cameras' },
    { id: 'right', group: 'motors' },
  ],
}
const TEXT = JSON.stringify(LIST)

/** Ids of the components, or the refusal. */
const asked = (components: object, pause = 1) => {
  const settings = settingsIn(JSON.stringify({ components }), 'x')
  const found = componentsOf(settings, NEVER, { pause }).then(list => list?.map(({ id }) => id).join())
  return answerOf(found as never) as Promise<unknown>
}

/** What a program with this text in the shell lists. */
async function listed(t: TestContext, text: string, mode = 0o755) {
  const dir = await aFolder(t)
  const path = join(dir, 'enumerator')
  await writeFile(path, `#!/bin/sh\necho >> '${dir}/runs'\n${text}\n`)
  await chmod(path, mode)
  const found = await asked({ enumerator: path, seconds: 1 })
  const runs = (await readFile(join(dir, 'runs'), 'utf8').catch(() => '')).length
  return `${runs} ${found}`
}

test('the list is a file, or what a program prints; without either there is none', async t => {
  const file = join(await aFolder(t), 'list.json')
  await writeFile(file, TEXT, { mode: 0o644 })
  assert.equal(await asked({ file }), 'left,cam,right')
  assert.equal(await listed(t, `echo '${TEXT}'; echo noise >&2; test $# = 0`), '1 left,cam,right')
  assert.equal(await componentsOf(settingsIn('{}', 'x'), NEVER), undefined)
})

test('a program that fails is tried again, because a bus may come late', async t => {
  const dir = await aFolder(t)
  assert.equal(
    await listed(t, `test -e '${dir}/up' || { touch '${dir}/up'; exit 5; }; echo '${TEXT}'`),
    '2 left,cam,right',
  )
})

test('a program that fails, hangs, floods, or prints something else is refused in one line', async t => {
  const cases: Readonly<Record<string, RegExp>> = {
    'echo no bus >&2; exit 3': /^3 70000004 COMPONENTS_FAILED: .*failed with exit code 3: no bus$/,
    'sleep 60': /^3 70000004 COMPONENTS_FAILED: .*did not end within 1 s$/,
    'kill -9 $$': /^3 70000004 COMPONENTS_FAILED: .*was killed by SIGKILL$/,
    'head -c 1000000000 /dev/zero': /^3 70000004 COMPONENTS_FAILED: .*(printed more than|did not end within)/,
    'head -c 300000 /dev/zero | tr "\\0" " "': /^1 3040000a COMPONENTS_BAD: .*is longer than/,
    'head -c 1000 /dev/urandom': /^1 3040000a COMPONENTS_BAD: .*is not JSON$/,
    'echo \'{"components":[{"id":"a"},{"id":"a"}]}\'': /^1 3040000a COMPONENTS_BAD: .*two components with the id "a"$/,
    ':': /^1 3040000a COMPONENTS_BAD: .*is not JSON$/,
  }
  for (const [text, expected] of Object.entries(cases)) {
    const found = await listed(t, text)
    assert.match(found, expected, text)
    assert.doesNotMatch(found, /\n/, text)
  }
})

test('the service runs the program in a unit of its own, where devices are, and names it when it fails', async t => {
  const dir = await aFolder(t)
  // In place of systemd: it notes its options, and runs the command.
  const words = `for word; do shift; [ "$word" = -- ] && break; echo "$word" >> '${dir}/options'; done; exec "$@"`
  await writeFile(join(dir, 'systemd-run'), `#!/bin/sh\n${words}\n`, { mode: 0o755 })
  const { PATH } = process.env
  process.env.PATH = `${dir}:${PATH}`
  t.after(() => {
    process.env.PATH = PATH
  })
  const path = join(dir, 'enumerator')
  const settings = settingsIn(JSON.stringify({ components: { enumerator: path, seconds: 7 } }), 'x')
  const ask = () => componentsOf(settings, NEVER, { runner: unitRunner, pause: 1 })
  await writeFile(path, `#!/bin/sh\necho '${TEXT}'; echo noise >&2\n`, { mode: 0o755 })
  assert.deepEqual(
    (await ask())?.map(({ id }) => id),
    ['left', 'cam', 'right'],
  )
  const options = (await readFile(join(dir, 'options'), 'utf8')).split('\n')
  for (const each of ['--pipe', '--wait', '--collect', '--property=RuntimeMaxSec=7']) assert.ok(options.includes(each))
  assert.ok(options.some(each => /^--unit=pi-adu-step-list-[0-9a-f]{12}\.service$/.test(each)))
  assert.ok(!options.some(each => /Private(Devices|Network)/.test(each)))
  await writeFile(path, '#!/bin/sh\necho no bus >&2; exit 3\n')
  const failed = await answerOf(ask() as never)
  assert.equal(String(failed).replace(/.*COMPONENTS_FAILED: /, ''), `${path} failed with exit code 3: no bus`)
})

test('what others may write, and what is no file, is not trusted', async t => {
  const dir = await aFolder(t)
  const file = join(dir, 'list.json')
  const flaw = /^70000001 COMPONENTS_MISSING: the components of this device are unknown: /
  assert.match(String(await asked({ file })), /COMPONENTS_MISSING: .*no such file or directory/)
  await writeFile(file, TEXT, { mode: 0o644 })
  await chmod(file, 0o666)
  assert.match(String(await asked({ file })), /COMPONENTS_MISSING: .*may be written by others than root$/)
  await chmod(file, 0o644)
  await chmod(dir, 0o777)
  assert.match(String(await asked({ file })), flaw)
  await chmod(dir, 0o755)
  await mkdir(join(dir, 'folder'))
  execFileSync('mkfifo', [join(dir, 'fifo')])
  await symlink('/dev/zero', join(dir, 'zero'))
  for (const name of ['folder', 'fifo', 'zero']) {
    assert.match(String(await asked({ file: join(dir, name) })), /is not a regular file$/, name)
  }
  assert.match(await listed(t, `echo '${TEXT}'`, 0o775), /^0 70000001 .*may be written by others/)
  assert.match(await listed(t, `echo '${TEXT}'`, 0o644), /^0 70000004 COMPONENTS_FAILED: .*could not be started/)
})

/** The signed text of a parent whose only step is for `group`; its child's step is the script `a.sh`. */
function forGroup(script: string, group: string) {
  const own = signed({ files: { 'a.sh': script } })
  const { files, instructions } = JSON.parse(own.manifest)
  const child = childOf({ ...CHILD_MANIFEST, compatibility: [{ group }], files, instructions })
  const manifest = parentOf(child)
  return { ...signed({ files: { 'a.sh': script }, change: { manifest } }), detached: [child.content.toString()] }
}

test('the service knows the components itself: two of three match, and nobody can make up another', async t => {
  const list = join(await aFolder(t), 'list.json')
  await writeFile(list, TEXT, { mode: 0o644 })
  const seen: unknown[] = []
  const { script } = scriptRunner
  const workers: Workers = {
    script: {
      run(verb, job, signal) {
        seen.push(job.component)
        return script!.run(verb, job, signal)
      },
    },
  }
  const service = await aService(t, { workers, settings: { components: { file: list } } })
  const text = service.script()
  const base = await service.order({ files: { 'a.sh': text } })
  const run = (id: string, component: object | undefined, group = 'motors', path = [0, 0]) =>
    service.run({ ...base, id, signed: forGroup(text, group), path, ...(component ? { component } : {}) } as never)

  for (const id of ['left', 'right']) {
    const result = await run(`for-${id}`, { id, name: 'a lie', properties: { path: '/etc/shadow' } })
    assert.ok(typeof result === 'object' && result.resultCode === 600, String(result))
  }
  // Names and properties are those of the list, whatever the client says.
  assert.deepEqual(seen, [
    { id: 'left', name: 'left', group: 'motors', properties: { path: '/dev/left' } },
    { id: 'right', name: 'right', group: 'motors', properties: {} },
  ])
  for (const component of [
    { id: 'cam', name: 'cam', properties: {} },
    { id: 'evil', name: 'evil', properties: {} },
    undefined,
  ]) {
    assert.match(String(await run(`x-${component?.id}`, component)), /STEP_REFUSED: .*has no step 0\.0/)
  }
  assert.match(String(await run('nobody', undefined, 'pumps', [0])), /STEP_REFUSED: .*nothing to do: none of the 3/)
  assert.equal((await service.effects()).length, 2)
})

test('the list is asked for children alone: not for a large manifest without one, nor before a signature was verified', async t => {
  const service = await aService(t, { settings: { components: { file: '/nonexistent/list.json' } } })
  const base = await service.order({ files: { 'a.sh': service.script() } })
  const large = { ...base.signed, detached: [base.signed.manifest] }
  const result = await service.run({ ...base, signed: large })
  assert.ok(typeof result === 'object' && result.resultCode === 600, String(result))
  const text = forGroup(service.script(), 'motors')
  const forged = { ...text, signature: text.signature.replace(/.{9}$/, 'AAAAAAAAA') }
  assert.match(
    String(await service.run({ ...base, id: 'forged', signed: forged, path: [0, 0] })),
    /does not verify with the signing key/,
  )
  assert.match(
    String(await service.run({ ...base, id: 'good', signed: text, path: [0, 0] })),
    /components .*are unknown/,
  )
})

test('a child manifest that is not in the order, or is another one, is refused', async t => {
  const service = await aService(t)
  const base = await service.order({ files: { 'a.sh': service.script() } })
  const text = forGroup(service.script(), 'motors')
  for (const detached of [[], ['{}'], [text.detached[0]?.replace('motors', 'Motors') ?? '']]) {
    const answer = await service.run({ ...base, id: `x${Math.random()}`, signed: { ...text, detached }, path: [0, 0] })
    assert.match(String(answer), /STEP_REFUSED: .*names a manifest that is not in the order/)
  }
  assert.deepEqual(await service.effects(), [])
})
