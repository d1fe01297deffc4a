import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { deviceCredential } from '../../src/adapters/identity/device-credential.ts'
import { registrationIdOf } from '../../src/adapters/identity/registration-id.ts'
import { checkIdentity } from '../../src/cli/check-identity.ts'
import { readConfig } from '../../src/config/config.ts'
import { ConfigError } from '../../src/domain/errors.ts'
import { patternFlaw } from '../../src/domain/registration-id.ts'
import { least } from '../config/examples.ts'
import { folder } from './files.ts'

// The section piAdu.provisioning, and the registration id that one configuration makes on each board.

const { dir, path, text, write, certificate } = folder()
const root = join(dir, 'board')
const board = (file: string, content: string) => {
  const place = join(root, file)
  mkdirSync(join(place, '..'), { recursive: true })
  writeFileSync(place, content)
}
board('sys/firmware/devicetree/base/serial-number', '10000000ABCDEF01\0')
board('sys/class/net/eth0/address', 'DC:A6:32:01:02:03\n')

test('made from the board: serial number, address, file; in lower case', async () => {
  const file = write('id.txt', 'Gate-North\r\n', 0o644)
  const marked = write('marked.txt', '\uFEFFGate-North\r\n', 0o644)
  for (const [pattern, expected] of [
    ['pi-0001', 'pi-0001'],
    ['Pi-0001', 'pi-0001'],
    ['pi-{serial}', 'pi-10000000abcdef01'],
    ['{mac:eth0}', 'dca632010203'],
    [`{file:${file}}`, 'gate-north'],
    [`{file:${marked}}`, 'gate-north'],
    ['a{serial}.{mac:eth0}', 'a10000000abcdef01.dca632010203'],
  ] as const) {
    assert.equal(patternFlaw(pattern), undefined, pattern)
    assert.equal(await registrationIdOf(pattern, root), expected)
  }
})

test('a pattern that could never be an id', () => {
  for (const pattern of ['', 'pi 1', 'pi-', 'pi-{serial', '{cpu}', '{mac}', '{mac:../x}', '{file:relative}', 'pä']) {
    if (pattern !== 'pi-') assert.ok(patternFlaw(pattern), pattern)
  }
  assert.equal(patternFlaw('pi.'), 'must end with a letter, a digit or "-"')
  assert.equal(patternFlaw('x'.repeat(129)), 'has more than 128 characters')
})

test('a board that lacks what the pattern names: a mistake, but for an interface, which may come later', async () => {
  for (const [content, says] of [
    ['0000000000000000\0', /this board's serial number is empty or zero$/],
    ['\0', /is empty or zero$/],
    ['bad serial', /the id of this device, "pi-bad serial", has characters other than/],
  ] as const) {
    const other = join(dir, 'other')
    mkdirSync(join(other, 'sys/firmware/devicetree/base'), { recursive: true })
    writeFileSync(join(other, 'sys/firmware/devicetree/base/serial-number'), content)
    await assert.rejects(registrationIdOf('pi-{serial}', other), { name: 'ConfigError', message: says })
  }
  await assert.rejects(registrationIdOf('pi-{serial}', join(dir, 'none')), /this board has no serial number/)
  await assert.rejects(registrationIdOf(`{file:${path('none')}}`, root), { name: 'ConfigError' })
  await assert.rejects(registrationIdOf('{mac:wlan0}', root), (error: Error) => {
    assert.ok(!(error instanceof ConfigError))
    assert.match(error.message, /no network interface wlan0 yet$/)
    return true
  })
})

certificate('pi7')
certificate('Capital', { cn: 'PI8' })
certificate('bad', { cn: 'pi 9' })
const KEY = Buffer.alloc(32, 9).toString('base64')
const key = write('dps.key', `${KEY}\n`)
const pair = (name: string) => ({ certFile: path(`${name}.pem`), keyFile: path(`${name}.key`) })

async function check(provisioning: Record<string, unknown>, keep = false) {
  const config: Record<string, unknown> & { agents: { connectionSource?: unknown }[] } = least()
  if (!keep) delete config.agents[0]?.connectionSource
  const file = write('du-config.json', JSON.stringify({ ...config, piAdu: { provisioning } }))
  const read = await readConfig(file, {})
  return [...read.warnings, ...(await checkIdentity(read))]
}

test('a credential that becomes unusable while the agent runs: the earlier one stays in use, until a new one is whole', async () => {
  const warnings: unknown[] = []
  const log = { debug() {}, info() {}, error() {}, warn: (...each: unknown[]) => void warnings.push(each) }
  const { signal } = new AbortController()
  const file = { setting: 'symmetricKeyFile', path: write('live.key', KEY) }
  const idFile = write('live.id', 'pi-1')
  const read = deviceCredential({ key: file, files: undefined, registrationId: `{file:${idFile}}` }, log)
  const first = await read(signal)
  for (const spoil of [() => write('live.key', ''), () => write('live.id', 'no id!')]) {
    spoil()
    assert.deepEqual(await read(signal), first)
  }
  assert.equal(warnings.length, 2)
  assert.match(JSON.stringify(warnings), /identity\.unusable.*is empty; the earlier credential stays in use/)
  assert.ok(!JSON.stringify(warnings).includes(KEY))
  write('live.id', 'pi-1')
  write('live.key', Buffer.alloc(32, 8).toString('base64'))
  const second = await read(signal)
  assert.notEqual(second.fingerprint, first.fingerprint)
  const broken = { setting: 'symmetricKeyFile', path: path('no.key') }
  await assert.rejects(deviceCredential({ key: broken, files: undefined, registrationId: 'pi-1' }, log)(signal), {
    name: 'HubError',
    message: /^no identity: symmetricKeyFile: cannot be read: ENOENT/,
  })
})

test('what works', async () => {
  const idScope = '0ne00A1B2C3'
  for (const section of [
    { idScope, registrationId: 'pi-1', symmetricKeyFile: key },
    { idScope, registrationId: 'PI-1', symmetricKeyFile: key, host: 'localhost:8883', payload: { site: 'north' } },
    { idScope, registrationId: 'pi-1', symmetricKeyFile: write('windows.key', `\uFEFF${KEY}\r\n`) },
    { idScope, registrationId: 'pi-1', symmetricKeyFile: write('blanks.key', ` ${KEY} \r\n\r\n`) },
    { idScope, ...pair('pi7') },
    { idScope, ...pair('pi7'), registrationId: 'Pi7' },
    { idScope, ...pair('Capital') },
  ])
    assert.deepEqual(await check(section), [], JSON.stringify(section))
  const both = await check({ idScope, registrationId: 'pi-1', symmetricKeyFile: key }, true)
  assert.deepEqual(both, ['agents.0.connectionSource: no effect, as piAdu.provisioning gives the identity'])
  const later = await check({ idScope, registrationId: '{mac:nope0}', symmetricKeyFile: key })
  assert.match(later.join(), /this device has no network interface nope0 yet$/)
})

test('what does not work stops the start in one sentence with the field', async () => {
  const good = { idScope: '0ne00A1B2C3', registrationId: 'pi-1', symmetricKeyFile: key }
  const { symmetricKeyFile: _, registrationId: __, ...scope } = good
  const rows: readonly (readonly [Record<string, unknown>, RegExp])[] = [
    [{ ...good, idScope: undefined }, /piAdu\.provisioning\.idScope: is missing$/],
    [{ ...good, idScope: '0ne/..' }, /piAdu\.provisioning\.idScope: must be an id scope/],
    [{ ...good, registrationId: 'pi 1' }, /piAdu\.provisioning\.registrationId: has characters other than/],
    [{ ...good, registrationId: ' pi-1' }, /piAdu\.provisioning\.registrationId: has characters other than/],
    [{ ...good, registrationId: 'pi-{cpu}' }, /registrationId: may hold \{serial\}, \{mac:eth0\}/],
    [{ ...good, registrationId: undefined }, /registrationId: is missing: a device with a symmetric key/],
    [{ ...good, host: 'https://dps' }, /piAdu\.provisioning\.host: must be a host name/],
    [{ ...good, groupKey: 'x' }, /piAdu\.provisioning\.groupKey: is not a setting of this agent/],
    [{ ...good, payload: 'x' }, /piAdu\.provisioning\.payload: must be a JSON object$/],
    [{ ...good, caFile: path('none.pem') }, /piAdu\.provisioning\.caFile: cannot be read/],
    [scope, /symmetricKeyFile: is missing: the device needs this, or certFile and keyFile$/],
    [{ ...good, ...pair('pi7') }, /symmetricKeyFile: has no effect beside certFile and keyFile/],
    [{ ...scope, certFile: path('pi7.pem') }, /piAdu\.provisioning\.keyFile: is missing: certFile needs it$/],
    [{ ...scope, keyFile: path('pi7.key') }, /certFile: is missing/],
    [{ ...good, passphraseFile: key }, /passphraseFile: has no effect without keyFile$/],
    [{ ...good, symmetricKeyFile: path('none') }, /symmetricKeyFile: cannot be read: ENOENT/],
    [{ ...good, symmetricKeyFile: write('empty', '') }, /symmetricKeyFile: \S+ is empty$/],
    [{ ...good, symmetricKeyFile: write('short', 'QUFB') }, /must hold one key in base64, of 16 to 64 bytes$/],
    [{ ...good, symmetricKeyFile: write('text', 'not base64 at all!') }, /must hold one key in base64/],
    [{ ...good, symmetricKeyFile: write('two', `${KEY}\n${KEY}`) }, /must hold one key in base64/],
    [{ ...good, symmetricKeyFile: write('open', KEY, 0o644) }, /everybody can read it: chmod 600 it$/],
    [{ ...scope, ...pair('pi7'), registrationId: 'pi8' }, /certFile: the certificate is for "pi7", but .* "pi8": they/],
    [{ ...scope, ...pair('pi7'), registrationId: 'PI8' }, /certFile: the certificate is for "pi7", but .* "pi8": they/],
    [{ ...scope, ...pair('bad') }, /certFile: the certificate's common name cannot be a registration id$/],
    [{ ...scope, certFile: path('pi7.pem'), keyFile: path('bad.key') }, /certFile: .* they must be a pair$/],
  ]
  for (const [section, says] of rows) {
    await assert.rejects(check(section), (error: Error) => {
      assert.ok(error instanceof ConfigError, error.stack)
      assert.match(error.message, says)
      for (const secret of [KEY, 'QUFB', 'not base64', text('pi7.key')]) assert.ok(!error.message.includes(secret))
      return true
    })
  }
})
