import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readIwdFile } from '../../src/preseed/iwd-file.ts'
import { isPreseed, MAX_BYTES, type Preseed, readPreseed } from '../../src/preseed/read.ts'
import { readToml } from '../../src/preseed/toml.ts'
import { countriesOf } from '../../src/preseed/wishes.ts'

const COUNTRIES = new Set(['DE', 'GB', 'US'])
const KEY = `ssh-ed25519 ${Buffer.concat([Buffer.from([0, 0, 0, 11]), Buffer.from('ssh-ed25519'), Buffer.alloc(36, 7)]).toString('base64')} me`
const HEX = '0123456789abcdef'.repeat(4)

function read(files: Readonly<Record<string, string | Buffer>>, keys?: string): Preseed {
  const list = Object.entries(files).map(([name, content]) => ({ name, content: Buffer.from(content) }))
  return readPreseed(list, COUNTRIES, readToml, keys)
}

/** What one file becomes: path → text, or why it is refused. */
function one(name: string, content: string | Buffer): Record<string, string> | string {
  const { taken, refused } = read({ [name]: content })
  assert.equal(taken.length + refused.length, 1)
  return refused[0]?.why ?? Object.fromEntries(taken[0]!.puts.map(({ path, text }) => [path, text]))
}

const psk = (password: string, more = ''): string => `[Security]\nPassphrase=${password}\n${more}`

const TAKEN: readonly [what: string, name: string, content: string, puts: Record<string, string>][] = [
  ['a plain name', 'Home.psk', psk('12345678'), { 'iwd/Home.psk': psk('12345678') }],
  ['spaces', 'Pi Net.psk', psk('a b c d e'), { 'iwd/Pi Net.psk': psk('a b c d e') }],
  ['emoji and accents', 'Café ☕.psk', psk('12345678'), { 'iwd/=436166c3a920e29895.psk': psk('12345678') }],
  ['accents as a Mac writes them', 'Cafe\u0301.psk', psk('12345678'), { 'iwd/=436166c3a9.psk': psk('12345678') }],
  ['hexadecimal digits', '=436166C3A9.psk', psk('12345678'), { 'iwd/=436166c3a9.psk': psk('12345678') }],
  ['hexadecimal digits of a plain name', '=486f6d65.psk', psk('12345678'), { 'iwd/Home.psk': psk('12345678') }],
  ['upper case', 'HOME.PSK', psk('12345678'), { 'iwd/HOME.psk': psk('12345678') }],
  ['63 characters', 'a.psk', psk('x'.repeat(63)), { 'iwd/a.psk': psk('x'.repeat(63)) }],
  ['backslash and space', 'a.psk', psk('\\s\\\\1234567'), { 'iwd/a.psk': psk('\\s\\\\1234567') }],
  [
    'line ends of Windows, byte order mark',
    'a.psk',
    `\ufeff${psk('12345678').replaceAll('\n', '\r\n')}`,
    { 'iwd/a.psk': psk('12345678') },
  ],
  ['comments, spaces', 'a.psk', '# mine\n\n [Security]\n Passphrase = 12345678', { 'iwd/a.psk': psk('12345678') }],
  [
    'a key',
    'a.psk',
    `[Security]\nPreSharedKey=${HEX.toUpperCase()}\n`,
    { 'iwd/a.psk': `[Security]\nPreSharedKey=${HEX}\n` },
  ],
  ['what iwd has computed', 'a.psk', psk('12345678', 'SAE-PT-Group19=00\n'), { 'iwd/a.psk': psk('12345678') }],
  [
    'a hidden network',
    'a.psk',
    psk('12345678', '[Settings]\nHidden=true\n'),
    { 'iwd/a.psk': psk('12345678', '[Settings]\nHidden=true\n') },
  ],
  ['an open network', 'Guests.open', '', { 'iwd/Guests.open': '' }],
  [
    'WPA Enterprise',
    'Work.8021x',
    '[Security]\nEAP-Method=PEAP\nEAP-Identity=me\n',
    { 'iwd/Work.8021x': '[Security]\nEAP-Method=PEAP\nEAP-Identity=me\n' },
  ],
  [
    'WPA Enterprise with a certificate in it',
    'Work.8021x',
    '[Security]\nEAP-Method=TLS\nEAP-TLS-CACert=embed:ca\n[@pem@ca]\n-----BEGIN CERTIFICATE-----\nMIIB\nAg==\n-----END CERTIFICATE-----\n[Settings]\nHidden=true\n',
    {
      'iwd/Work.8021x':
        '[Security]\nEAP-Method=TLS\nEAP-TLS-CACert=embed:ca\n[Settings]\nHidden=true\n[@pem@ca]\n-----BEGIN CERTIFICATE-----\nMIIB\nAg==\n-----END CERTIFICATE-----\n',
    },
  ],
  ['a country', 'country.txt', ' de\r\n', { 'adu/wlan-country': 'DE\n' }],
  [
    'what Raspberry Pi Imager writes',
    'rpi-preseed.toml',
    `config_version = "1.1"\n[system]\nhostname = "Pi-7"\n[ssh]\nenabled = true\nauthorized_keys = ["${KEY}"]\n[wlan]\nssid = "Home"\npassword = "${HEX}"\npassword_encrypted = true\nhidden = false\ncountry = "DE"\n[locale]\ntimezone = "Europe/Berlin"\n`,
    {
      'iwd/Home.psk': `[Security]\nPreSharedKey=${HEX}\n`,
      'adu/wlan-country': 'DE\n',
      'adu/hostname': 'pi-7\n',
      'adu/timezone': 'Europe/Berlin\n',
      'ssh/authorized_keys': `${KEY}\n`,
    },
  ],
  [
    'WPA3',
    'custom.toml',
    '[wlan]\nssid = "Home"\npassword = "12345678"\nkey_mgmt = "sae"\n',
    { 'iwd/Home.psk': psk('12345678') },
  ],
  [
    'a password with a space first',
    'custom.toml',
    '[wlan]\nssid = "Home"\npassword = " 2345678"\n',
    { 'iwd/Home.psk': psk('\\s2345678') },
  ],
  [
    'a hidden network of an odd name',
    'custom.toml',
    '[wlan]\nssid_hex = "00ff"\npassword = "12345678"\nhidden = true\n',
    { 'iwd/=00ff.psk': psk('12345678', '[Settings]\nHidden=true\n') },
  ],
  ['a network without a password', 'custom.toml', '[wlan]\nssid = "Guests"\n', { 'iwd/Guests.open': '' }],
  ['a country alone', 'custom.toml', '[wlan]\ncountry = "GB"\n', { 'adu/wlan-country': 'GB\n' }],
]
for (const [what, name, content, puts] of TAKEN)
  test(`${name} is taken: ${what}`, () => assert.deepEqual(one(name, content), puts))

const utf16 = (text: string): Buffer => Buffer.from(`\ufeff${text}`, 'utf16le')
const REFUSED: readonly [name: string, content: string | Buffer, why: RegExp][] = [
  ['a.psk', '', /^it is empty$/],
  ['a.psk', Buffer.alloc(2 ** 20, 'x'), /^it is larger than 64 KiB$/],
  ['a.psk', utf16(psk('12345678')), /UTF-16: save it as UTF-8$/],
  ['a.psk', utf16(psk('12345678')).subarray(2), /UTF-16: save it as UTF-8$/],
  ['rpi-preseed.toml', Buffer.from([0x61, 0xff, 0x62]), /^it is not UTF-8/],
  ['a.psk', Buffer.alloc(40), /^it begins with zeros: copy it to the card again$/],
  ['a.psk', Buffer.concat([Buffer.alloc(512), Buffer.from('x')]), /begins with zeros/],
  ['a.psk', `${psk('12345678')}\0\0\0`, /^it contains zeros/],
  ['a.psk', '[Security]\nPass', /^line 2 is neither \[Group\] nor Name=value$/],
  ['a.psk', '[Security]\n', /^it needs Passphrase= or PreSharedKey=/],
  ['a.psk', 'Passphrase=12345678', /^line 1: Passphrase belongs below a line such as \[Security\]$/],
  ['a.psk', psk('1234567'), /^the password has 7 characters, and must have 8 to 63$/],
  ['a.psk', psk('x'.repeat(64)), /has 64 characters/],
  ['a.psk', psk(HEX), /PreSharedKey= in place of Passphrase=/],
  ['a.psk', psk('passwörter'), /not ASCII/],
  ['a.psk', psk('12345678 '), /^Passphrase ends with a space/],
  ['a.psk', psk('1234\\5678'), /^Passphrase has a backslash/],
  ['a.psk', psk('12345678\nPassphrase=87654321'), /^line 3: Passphrase is there twice$/],
  ['a.psk', `[Security]\nPreSharedKey=${HEX.slice(1)}\n`, /64 hexadecimal digits$/],
  ['a.psk', psk('12345678', '[IPv4]\nAddress=10.0.0.2\n'), /^\[IPv4\] is not supported: the address comes from DHCP$/],
  ['a.psk', psk('12345678', '[Settings]\nHiden=true\n'), /^line 4: its name is unknown in \[Settings\]$/],
  ['a.psk', psk('12345678', 'hunter2=\n'), /^line 3: its name is unknown in \[Security\] of a \.psk file$/],
  ['a.psk', 'hunter2hunter2=\n', /^line 1: it belongs below a line such as \[Security\]$/],
  ['a.psk', '[Security]\nhunter2=\nhunter2=\n', /^line 3: it is there twice$/],
  ['a.psk', '[Security]\n\n[hunter2]\nPassphrase=12345678', /^line 3: the group is unknown, and must be \[Security\]/],
  ['a.8021x', '[Security]\nEAP-Method=PEAP\nhunter2=x\n', /^line 3: its name is unknown in \[Security\] of a \.8021x/],
  ['a.8021x', '[Security]\nEAP-Method=hunter2\n', /^EAP-Method in \[Security\] must be /],
  ['a.psk', psk('12345678', '[Settings]\nHidden=yes\n'), /^Hidden must be true or false$/],
  ['.psk', psk('12345678'), /^the SSID is empty$/],
  ['=abc.psk', psk('12345678'), /two digits for each byte/],
  [`${'x'.repeat(33)}.psk`, psk('12345678'), /^the SSID has 33 bytes, and at most 32 are possible$/],
  ['☕☕☕☕☕☕☕☕☕☕☕.psk', psk('12345678'), /^the SSID has 33 bytes/],
  ['a.open', psk('12345678'), /name the file .psk$/],
  ['a.8021x', psk('12345678'), /^EAP-Method in \[Security\] must be /],
  [
    'a.8021x',
    '[Security]\nEAP-Method=TLS\nEAP-TLS-ClientKey=/etc/shadow\n',
    /^EAP-TLS-ClientKey must be a file below \/data/,
  ],
  [
    'a.8021x',
    '[Security]\nEAP-Method=TLS\nEAP-TLS-CACert=embed:ca\n[@pem@ca]\n-----BEGIN CERTIFICATE-----\nMIIB\n',
    /needs a text in PEM/,
  ],
  ['a.psk.txt', psk('12345678'), /^its name ends in \.txt: rename it to a\.psk$/],
  ['Custom.toml.txt', '[wlan]', /^its name ends in \.txt: rename it to Custom\.toml$/],
  ['country.txt', 'Germany', /^the country is a code of two letters/],
  ['country.txt', 'UK', /^the code of the United Kingdom is GB, not UK$/],
  ['country.txt', 'XX', /^XX is not a country that the regulatory database knows/],
  ['firstrun.sh', '#!/bin/sh', /^scripts are not run: use rpi-preseed\.toml/],
  ['user-data', '#cloud-config', /^cloud-init is not supported/],
  ['network-config', 'network:', /^cloud-init is not supported/],
  ['wpa_supplicant.conf', 'network={}', /iwd, not wpa_supplicant/],
  ['rpi-preseed.toml', '[wlan]\nssid = "Home', /^it is not valid TOML: line 2, column \d+$/],
  ['rpi-preseed.toml', '[wlan]\npassword = "hunter2hunter2', /^it is not valid TOML: line 2, column \d+$/],
  ['rpi-preseed.toml', 'config_version = 2', /^its config_version is 2, and only 1 is known$/],
  ['rpi-preseed.toml', 'config_version = {a = 1}', /^its config_version is not a number, and only 1 is known$/],
  ['rpi-preseed.toml', '[config_version]\na = 1', /^its config_version is not a number/],
  ['rpi-preseed.toml', 'config_version = [{a = 1}]', /^its config_version is not a number/],
  ['rpi-preseed.toml', 'config_version = "hunter2"', /^its config_version is not a number/],
  ['rpi-preseed.toml', 'wlan = 2026-01-01', /^wlan must be a table: \[wlan\]$/],
  ['rpi-preseed.toml', '[wlan]\nhunter2 = true', /^\[wlan\] has an unknown setting: it may have ssid, /],
  ['rpi-preseed.toml', 'wlan = "Home"', /^wlan must be a table: \[wlan\]$/],
  ['rpi-preseed.toml', '[wlan]\nsid = "Home"', /^\[wlan\] has an unknown setting: it may have ssid, /],
  ['rpi-preseed.toml', '[wlan]\nssid = 7', /^wlan\.ssid must be a text in quotes$/],
  ['rpi-preseed.toml', '[wlan]\nssid = "Home"\npassword = 12345678', /^wlan\.password must be a text in quotes$/],
  ['rpi-preseed.toml', '[wlan]\npassword = "12345678"', /^wlan\.password has no wlan\.ssid$/],
  ['rpi-preseed.toml', '[wlan]\nssid = "a"\nssid_hex = "62"', /different networks$/],
  ['rpi-preseed.toml', '[wlan]\nssid = "a"\nkey_mgmt = "wpa-psk"', /^wlan\.password is missing$/],
  ['rpi-preseed.toml', '[wlan]\nssid = "a"\nkey_mgmt = "wpa-eap"', /^wlan\.key_mgmt must be /],
  ['rpi-preseed.toml', `[wlan]\nssid = "a"\nkey_mgmt = "sae"\npassword = "${HEX}"`, /WPA3/],
  [
    'rpi-preseed.toml',
    '[wlan]\nssid = "a"\npassword = "12345678"\npassword_encrypted = true',
    /64 hexadecimal digits$/,
  ],
  ['rpi-preseed.toml', '[wlan]\ncountry = "ZZ"', /^ZZ is not a country/],
  ['rpi-preseed.toml', '[system]\nhostname = "my_pi"', /^the host name must have /],
  ['rpi-preseed.toml', '[system]\nhostname = "1234"', /^the host name must have /],
  ['rpi-preseed.toml', '[locale]\ntimezone = "Europe/Berlino"', /^the time zone is unknown/],
  ['rpi-preseed.toml', '[locale]\ntimezone = "../../etc/shadow"', /^the time zone is unknown/],
  [
    'rpi-preseed.toml',
    '[ssh]\nauthorized_keys = ["ssh-ed25519 AAAA"]',
    /^key 1 of ssh\.authorized_keys is not an SSH key$/,
  ],
  ['rpi-preseed.toml', `[ssh]\nauthorized_keys = ['command="rm" ${KEY}']`, /^key 1 of ssh\.authorized_keys/],
]
for (const [name, content, why] of REFUSED) {
  test(`${name} is refused: ${why.source}`, () => {
    const said = one(name, content)
    assert.equal(typeof said, 'string', JSON.stringify(said))
    assert.match(said as string, why)
    assert.doesNotMatch(said as string, /\n|hunter2|87654321|1234567\b(?! char)/)
  })
}

test('what this system does not have is left out by name, never by value', () => {
  const text =
    '[system]\nhostname = "pi"\n[user]\nname = "me"\npassword = "secret"\n[locale]\nkeymap = "de"\n[ssh]\nenabled = true\npassword_authentication = false\n[runcmd]\ncmds = ["rm -rf /"]\n'
  const [taken] = read({ 'rpi-preseed.toml': text }).taken
  assert.deepEqual(taken?.without, [
    'user.name',
    'user.password',
    'runcmd.cmds',
    'locale.keymap',
    'ssh.enabled (without a key nobody can log in)',
  ])
  assert.deepEqual(
    taken?.puts.map(({ path }) => path),
    ['adu/hostname'],
  )
})

test('a name that Imager does not know is not printed: it may be a password', () => {
  const text =
    'hunter2 = true\n[system]\nhostname = "pi"\nhunter2 = 1\n[hunter2x]\na = 1\n[ssh]\nhunter2 = 1\n[user]\nhunter2.x = 1\nhunter2y = 2\n'
  assert.deepEqual(read({ 'custom.toml': text }).taken[0]?.without.toSorted(), [
    'an unknown setting',
    'an unknown setting of [ssh]',
    'an unknown setting of [system]',
    'an unknown setting of [user]',
    'ssh.enabled (without a key nobody can log in)',
  ])
})

test('any value anywhere in the TOML file is a reason or is taken', () => {
  const odd = [
    '{a = 1}',
    '[{a = 1}]',
    '[]',
    '{}',
    '1',
    '1.5',
    'true',
    '2026-01-01',
    '07:30:00',
    'nan',
    '"x"',
    '[[[1]]]',
  ]
  const names = ['config_version', 'wlan', 'ssh', 'system', 'locale', 'user', 'toString', '__proto__']
  const inner = ['wlan.ssid', 'wlan.ssid_hex', 'wlan.password', 'wlan.hidden', 'wlan.country', 'wlan.key_mgmt']
  const more = ['ssh.enabled', 'ssh.authorized_keys', 'system.hostname', 'locale.timezone', 'wlan.__proto__']
  for (const name of [...names, ...inner, ...more])
    for (const value of odd) {
      const { refused } = read({ 'rpi-preseed.toml': `${name} = ${value}\n` })
      for (const { why } of refused) assert.doesNotMatch(why, /fault/, `${name} = ${value}`)
    }
})

test('an unforeseen error refuses one file, without a word of it, and the others are taken', () => {
  const files = ['a.psk', 'custom.toml', 'z.psk'].map(name => ({ name, content: Buffer.from(psk('12345678')) }))
  const { taken, refused } = readPreseed(files, COUNTRIES, text => {
    throw new TypeError(text)
  })
  assert.deepEqual(
    taken.map(({ name }) => name),
    ['a.psk', 'z.psk'],
  )
  assert.deepEqual(
    refused.map(({ name }) => name),
    ['custom.toml'],
  )
  assert.match(refused[0]!.why, /^it cannot be read, by a fault of this program/)
  assert.doesNotMatch(refused[0]!.why, /12345678/)
})

test('several networks are all taken', () => {
  const { taken } = read({ 'Home.psk': psk('12345678'), 'Work.psk': psk('87654321'), 'Home.open': '' })
  assert.deepEqual(
    taken.map(({ puts }) => puts[0]?.path),
    ['iwd/Home.psk', 'iwd/Work.psk', 'iwd/Home.open'],
  )
})

test('two files that contradict each other are both refused, and the others taken', () => {
  const toml = (password: string, more = '') => `[wlan]\nssid = "Home"\npassword = "${password}"\n${more}`
  const names = ({ taken, refused }: Preseed) => [taken.map(each => each.name), refused.map(each => each.name)]
  const files = { 'Home.psk': psk('12345678'), 'Work.psk': psk('12345678'), 'custom.toml': toml('87654321') }
  assert.deepEqual(names(read(files)), [['Work.psk'], ['Home.psk', 'custom.toml']])
  assert.match(
    read(files).refused[0]!.why,
    /^custom\.toml says something else about the network "Home" \(\.psk\): remove one of the two$/,
  )
  assert.deepEqual(names(read({ 'Home.psk': psk('12345678'), 'custom.toml': toml('12345678') }))[1], [])
  assert.deepEqual(names(read({ 'country.txt': 'DE', 'custom.toml': '[wlan]\ncountry = "US"' }))[0], [])
  const keys = `[ssh]\nauthorized_keys = ["${KEY}"]`
  assert.deepEqual(names(read({ 'custom.toml': keys }, `# mine\n${KEY}\n`)), [['custom.toml'], []])
  assert.deepEqual(names(read({ 'custom.toml': keys }, 'ssh-ed25519 other')), [[], ['custom.toml', 'authorized_keys']])
})

test('the names that are looked at', () => {
  for (const name of ['a.psk', 'A.PSK', 'a.8021x', 'a.open', 'country.txt', 'Custom.toml', 'firstrun.sh', 'a.psk.txt'])
    assert.ok(isPreseed(name), name)
  for (const name of ['._a.psk', 'config.txt', 'usercfg.txt', 'a.pskx', 'constructor', 'du-config.json'])
    assert.ok(!isPreseed(name), name)
})

test('the countries of a regulatory database', () => {
  const db = Buffer.concat([Buffer.from('RGDB\0\0\0\x1400\x04\x9fDE\x05\x01\0\0\0\0XX\x01\x01', 'latin1')])
  assert.deepEqual([...(countriesOf(db) ?? [])], ['00', 'DE'])
  assert.equal(countriesOf(Buffer.from('RGDB\0\0\0\x15')), undefined)
  assert.equal(countriesOf(Buffer.alloc(0)), undefined)
})

test('no file makes the reader throw anything but a reason, and no reason has a line end', () => {
  const seeds = TAKEN.map(([, name, content]) => [name, Buffer.from(content)] as const)
  let state = 1
  const random = (limit: number): number => {
    state = (state * 48271) % 2147483647
    return state % limit
  }
  for (let i = 0; i < 3000; i++) {
    const [name, seed] = seeds[random(seeds.length)]!
    const bytes = Buffer.from(seed.subarray(0, random(seed.length + 1)))
    for (let n = random(4); n > 0 && bytes.length > 0; n--) bytes[random(bytes.length)] = random(256)
    const { refused, taken } = readPreseed([{ name, content: bytes }], COUNTRIES, readToml)
    for (const { why } of refused) assert.doesNotMatch(why, /\n|fault of this program/)
    for (const { puts } of taken) for (const { path } of puts) assert.match(path, /^(iwd|adu|ssh)\/[A-Za-z0-9 _=.-]+$/)
  }
  assert.ok(MAX_BYTES < 2 ** 20)
})

test('what is written is read again as the same', () => {
  for (const [, name, content] of TAKEN) {
    if (!/\.(psk|open|8021x)$/i.test(name)) continue
    const first = readIwdFile(name, content.replace('\ufeff', '').replaceAll('\r\n', '\n'))
    assert.deepEqual(readIwdFile(first.file, first.text), first)
  }
})
