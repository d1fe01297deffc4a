import assert from 'node:assert/strict'
import { chmod, chown, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { repositoryRoot } from '../../image/builder/repository.ts'
import { readSettings, settingsIn } from '../../src/steps/settings.ts'
import { answerOf } from './support.ts'

async function aFile(t: TestContext, text: string): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'steps-'))
  t.after(() => rm(dir, { recursive: true, force: true }))
  await writeFile(join(dir, 'steps.json'), text, { mode: 0o644 })
  return join(dir, 'steps.json')
}

const flaw = (file: string) => answerOf(readSettings(file) as never)

test('without a file, every setting has its default: scripts are off, and a step has a user of its own', async () => {
  const settings = await readSettings('/nonexistent/steps.json')
  assert.deepEqual(settings.scripts, { run: 'off', user: 'adu-steps', asRoot: [] })
  assert.deepEqual([settings.rootKeys, settings.providers, settings.allowDowngrade], [[], [], false])
})

test('a mistake names the file and the member', async t => {
  const cases = {
    '{"scripts":{"run":"yes"}}': /steps\.json: it scripts\.run: /,
    '{"script":{}}': /steps\.json: it script: /,
    '{"limits":{"seconds":0}}': /limits\.seconds/,
    '{"components":{}}': /components: needs either file or enumerator/,
    '{"components":{"file":"/a","enumerator":"/b"}}': /components: needs either file or enumerator/,
    '{"components":{"file":"a"}}': /components\.file: is not an absolute path/,
    '{"scripts":{"user":"a b"}}': /scripts\.user: is not the name of a user/,
    '{': /is not JSON/,
    '[]': /STEP_SERVICE/,
  }
  for (const [text, expected] of Object.entries(cases))
    assert.match(String(await flaw(await aFile(t, text))), expected, text)
  assert.match(String(await flaw('/dev/null')), /is not a file|is not JSON/)
  const huge = await aFile(t, ' '.repeat(300_000))
  assert.match(String(await flaw(huge)), /is not a file of at most/)
})

test('a service of root obeys only what root alone may write', {
  skip: process.getuid?.() !== 0 && 'not root',
}, async t => {
  const file = await aFile(t, '{"scripts":{"run":"on"}}')
  assert.equal((await readSettings(file)).scripts.run, 'on')
  for (const mode of [0o664, 0o646, 0o666]) {
    await chmod(file, mode)
    assert.match(String(await flaw(file)), /STEP_SERVICE: .*must belong to root, and nobody else may write it/)
  }
  await chmod(file, 0o644)
  await chown(file, 65534, 0)
  assert.match(String(await flaw(file)), /must belong to root/)
  await chown(file, 0, 0)
  await chmod(join(file, '..'), 0o777)
  assert.match(String(await flaw(file)), /must belong to root/)
})

test('the page has every setting, with its default', async () => {
  const page = await readFile(join(repositoryRoot(), 'src/steps/README.md'), 'utf8')
  const table = page.slice(page.indexOf('## Settings'))
  const rows = [...table.matchAll(/^\| `([a-zA-Z.]+)` \| `?([^|`]+)`? \|/gm)].map(([, name, value]) => [name, value])
  const settings = settingsIn('{"properties":{},"components":{"file":"/x"}}', 'x')
  const flat = (value: object, prefix: string): [string, unknown][] =>
    Object.entries(value).flatMap(([name, each]) =>
      ['packages.', 'scripts.', 'limits.'].includes(`${name}.`) ? flat(each, `${name}.`) : [[`${prefix}${name}`, each]],
    )
  const names = flat(settings, '')
  assert.deepEqual(rows.map(([name]) => name).sort(), names.map(([name]) => name).sort())
  for (const [name, value] of names) {
    const said = rows.find(([each]) => each === name)?.[1]
    if (typeof value !== 'object') assert.equal(said, JSON.stringify(value), name)
  }
})
