import assert from 'node:assert/strict'
import { chmod, readdir, readFile, rename, rm, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'node:test'
import { withHandler } from './support.ts'

const sh = (body: string): string => `#!/bin/sh\n${body}\n`

test('the handler gets one JSON object with the step as it was signed', async t => {
  const { service, run } = await withHandler(t, sh('cat > request.json'))
  const properties = { port: '/dev/ttyACM0', deep: { list: [1, null] }, installedCriteria: '7' }
  assert.match(await run('install', properties), /^600 /)
  const [found = ''] = (await readdir(service.state, { recursive: true })).filter(name => name.endsWith('request.json'))
  const { folder, files, ...rest } = JSON.parse(await readFile(join(service.state, found), 'utf8'))
  assert.deepEqual(rest, {
    ...{ protocol: 1, verb: 'install', attempt: 1, handler: 'contoso/flasher:1' },
    update: { provider: 'Contoso', name: 'Steps', version: '1.0.0' },
    properties: { scriptFileName: 'fw.bin', ...properties },
    installedCriteria: '7',
  })
  const [{ name, path, sizeInBytes, sha256 }] = files
  assert.deepEqual([name, path, sizeInBytes], ['fw.bin', join(folder, 'fw.bin'), 18])
  assert.match(sha256, /^[0-9a-f]{64}$/)
})

const say = (line: string): string => `echo '${line}'`
const result = (...codes: (number | string)[]): string =>
  say(`{"result":{"resultCode":${codes[0]},"extendedResultCode":${codes[1] ?? 0},"resultDetails":"why"}}`)

const long = (begin: string, end: string): string =>
  `printf '%s' '${begin}'; head -c 100000 /dev/zero | tr '\\0' x; echo '${end}'`

const ROWS: readonly [verb: 'isInstalled' | 'install' | 'cancel', body: string, outcome: RegExp][] = [
  ['install', 'exit 0', /^600 00000000 $/],
  ['install', result(605), /^605 00000000 why$/],
  ['install', `${result(0, 5)}; ${result(600)}`, /^600 /],
  ['install', result(700), /^600 /],
  ['install', result(4711), /^600 /],
  ['isInstalled', result(4711), /^0 321000F1 .*gave the result code 4711/],
  ['install', result('"600"'), /^0 321000F5 .*its result has a resultCode that is not a JSON number/],
  ['install', say('{"result":[]}'), /^0 321000F5 .*is not a JSON object/],
  ['install', result(0), /^0 321000F6 .*failed: why$/],
  ['install', `${result(0, -1)}; exit 3`, /^0 FFFFFFFF .*failed: why$/],
  ['install', `${result(600)}; exit 3`, /^0 321000F6 .*failed with exit code 3/],
  ['install', 'kill -9 $$', /^0 321000F3 /],
  [
    'install',
    `echo lost; echo one >&2; sleep 0.1; echo two; ${say('{"log":"three\\u001b"}')}; echo four; exit 1`,
    /^0 321000F6 .*it said: two; three\\u001b; four$/,
  ],
  // Exit code 0 without a result is a success: what may have been a result is not passed over.
  [
    'install',
    say('{"result":{"resultCode":0,"resultDetails":"a "b""}}'),
    /^0 321000F5 .*not valid JSON; it said: \{"result"/,
  ],
  ['install', `${say('{broken')}; ${result(600)}`, /^600 /],
  ['install', long('{"result":{"resultCode":0,"resultDetails":"', '"}}'), /^0 321000F5 .*a line of more than 8 KiB/],
  ['install', long('#', '#'), /^600 /],
  ['install', `${say('{"progress":"x"}')}; ${say('{"progress":1e9}')}; ${say('{"progress":7}')}`, /^600 /],
  ['isInstalled', result(900), /^900 /],
  ['isInstalled', 'exit 0', /^0 321000F5 .*gave no result/],
  ['isInstalled', result(600), /^0 321000F1 /],
  ['cancel', 'exit 0', /^800 /],
  ['cancel', result(801), /^801 /],
]

test('what a handler says and its exit code, for each row of the page', async t => {
  for (const [verb, body, expected] of ROWS) {
    const { run, seen } = await withHandler(t, sh(body))
    assert.match(await run(verb), expected, `${verb}: ${body}`)
    if (body.includes('progress')) assert.deepEqual(seen, [7])
  }
})

test('a handler that hangs is ended after its time', async t => {
  const { run } = await withHandler(t, sh('echo waiting; sleep 300'), 1)
  assert.match(await run('install'), /^0 321000F2 .*; it said: waiting$/)
})

test('an executable that others may change, or that is none, is not run', async t => {
  const { executable, run, service } = await withHandler(t, sh('exit 0'))
  const unsafe = async (why: RegExp): Promise<void> => {
    const said = await run('install')
    assert.match(said, /^0 321000F4 the handler contoso\/flasher:1 is not run: /)
    assert.match(said, why)
  }
  await chmod(executable, 0o777)
  await unsafe(/may be written by others than root$/)
  await chmod(executable, 0o644)
  await unsafe(/is not executable$/)
  await rename(executable, join(service.dir, 'elsewhere'))
  await symlink(join(service.dir, 'elsewhere'), executable)
  await unsafe(/is not a regular file$/)
  await rm(executable)
  // Without a file there is no such handler.
  assert.match(await run('install'), /^30000003 .*this device has no handler "contoso\/flasher:1"/)
})
