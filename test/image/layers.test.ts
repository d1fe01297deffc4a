import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, test } from 'node:test'
import { IMAGE, WLAN_LAYER } from '../../image/builder/data.ts'
import { firmwareThatLeadsNowhere } from '../../image/builder/debian.ts'
import { readLayers } from '../../image/builder/layers.ts'

const home = mkdtempSync(join(tmpdir(), 'layers-'))
after(() => rmSync(home, { recursive: true, force: true }))

/** Path → content; a text that begins with `#!` is executable, one that begins with `->` is a link. */
type Content = Readonly<Record<string, string | Buffer>>

let folders = 0
function layer(content: Content = {}, head: object | string = { name: 'app', version: '1.0.0' }): string {
  const dir = join(home, String(folders++))
  const all: Content = { 'layer.json': typeof head === 'string' ? head : JSON.stringify(head), ...content }
  for (const [path, text] of Object.entries(all)) {
    const file = join(dir, path)
    mkdirSync(dirname(file), { recursive: true })
    if (typeof text === 'string' && text.startsWith('->')) symlinkSync(text.slice(2), file)
    else writeFileSync(file, text)
    if (typeof text === 'string' && text.startsWith('#!')) chmodSync(file, 0o755)
  }
  return dir
}

test('the example layers are accepted, and say what they add', async () => {
  const { list, ...all } = await readLayers([join(IMAGE, 'layers/diagnosis'), join(IMAGE, 'layers/hello')])
  assert.deepEqual(
    list.map(({ name, version }) => `${name} ${version}`),
    ['diagnosis 1.0.0', 'hello 1.0.0'],
  )
  assert.deepEqual(all.packages, ['curl', 'iputils-ping', 'less', 'nano'])
  assert.deepEqual(all.units, ['hello.service'])
  assert.deepEqual(all.users, [{ name: 'hello', id: 2000 }])
  assert.deepEqual(all.data, ['0750 2000 2000 hello'])
  assert.deepEqual(all.secrets, ['hello.token hello/token 0400 2000:2000'])
  assert.deepEqual(all.bootLines, ['# layer hello', '[pi4]', 'gpio=17=ip,pd', '[all]'])
  assert.deepEqual(
    all.files.map(({ path }) => path),
    ['usr/lib/hello/hello', 'usr/lib/systemd/system/hello.service', 'etc/pi-adu/health.d/hello'],
  )
})

test('the hash of a layer is that of its content, wherever the folder lies', async () => {
  const hashes: string[] = []
  for (const content of [
    { 'rootfs/etc/a': 'x' },
    { 'rootfs/etc/a': 'x' },
    { 'rootfs/etc/a': 'y' },
    { 'rootfs/etc/a': '#!x' },
  ])
    hashes.push((await readLayers([layer(content)])).list[0]!.sha256)
  assert.equal(hashes[0], hashes[1])
  assert.equal(new Set(hashes).size, 3)
})

const OVERLAY = Buffer.from('d00dfeed00000000', 'hex')

test('what a layer may have', async () => {
  const { files, overlays } = await readLayers([
    layer({
      'README.md': 'text',
      'boot.txt': 'dtoverlay=My-Board,speed=2\ndtparam=on\n',
      'rootfs/etc/motd': 'hello\n',
      'rootfs/etc/systemd/system/app.service.d/more.conf': '[Service]\n',
      'rootfs/etc/systemd/system/app-.service.d/more.conf': '[Service]\n',
      'rootfs/usr/bin/app': '#!/bin/sh\n',
      'rootfs/usr/lib/app/node': '#!/bin/sh\n',
      'rootfs/usr/lib/app/current': '->../app-1/app',
      'rootfs/etc/app': '->/usr/share/app',
      'rootfs/etc/udev/rules.d/80-app.rules': 'ACTION=="add"\n',
      'rootfs/etc/app.pem': '-----BEGIN CERTIFICATE-----\nMIIB\n',
      'rootfs/usr/share/Ünï code/file': 'x',
      'overlays/my-board.dtbo': OVERLAY,
      'health.d/app': '#!/bin/sh\n',
      'rootfs/etc/pi-adu/steps.json': '{}',
      'rootfs/usr/lib/pi-adu/handlers.d/contoso_flasher_1': '#!/bin/sh\n',
    }),
  ])
  assert.equal(files.length, 13)
  assert.deepEqual(
    overlays.map(({ path }) => path),
    ['overlays/my-board.dtbo'],
  )
})

const KEY = '-----BEGIN EC PRIVATE KEY-----\nMHcC\n'
const REFUSED: readonly [what: string, content: Content, why: RegExp][] = [
  [
    'a script that would run at build time',
    { 'build.sh': '#!/bin/sh\n' },
    /build\.sh is unknown: a layer is data only/,
  ],
  ['an unknown folder', { 'hooks/run': 'x' }, /hooks is unknown/],
  ['apt sources in the old form', { 'sources/my.list': 'deb http://x y z' }, /sources\/my\.list is unknown/],
  ['a name with a line feed', { 'rootfs/etc/a\nb': 'x' }, /rootfs\/etc\/a\\nb: the name has characters/],
  [
    'a name that turns the writing round',
    { 'rootfs/etc/a\u202eb': 'x' },
    /rootfs\/etc\/a\\u202eb: the name has characters/,
  ],
  ['an unknown file with a line feed', { 'a\nb': 'x' }, /a\\nb is unknown/],
  ['a link that leads out', { 'rootfs/etc/x': '->../../../../etc/shadow' }, /rootfs\/etc\/x: the link leads out/],
  ['a link to data as a list', { 'packages.txt': '->/etc/passwd' }, /packages\.txt is not a regular file/],
  ['a link as a health check', { 'health.d/x': '->/bin/true' }, /health\.d\/x: links are refused/],
  ['rootfs as a link', { rootfs: '->/etc' }, /rootfs is not a folder/],
  ['rootfs as a file', { rootfs: 'x' }, /rootfs is not a folder/],
  ['fstab', { 'rootfs/etc/fstab': 'x' }, /rootfs\/etc\/fstab: it belongs to the image/],
  ['the boot state', { 'rootfs/boot/firmware/boot.env': 'x' }, /boot state belong to the image/],
  ['a kernel', { 'rootfs/boot/vmlinuz.gz': 'x' }, /kernel and boot state/],
  ['the data partition', { 'rootfs/data/app/x': 'x' }, /use data\.txt/],
  ['var', { 'rootfs/var/lib/app/x': 'x' }, /not part of a slot/],
  ['a folder that is a link in Debian', { 'rootfs/bin/app': 'x' }, /write usr\/bin instead/],
  ['the agent', { 'rootfs/usr/lib/pi-adu/pi-adu.mjs': 'x' }, /belongs to the agent/],
  ['the step service', { 'rootfs/usr/lib/pi-adu/pi-adu-steps.mjs': 'x' }, /belongs to the agent/],
  ['a folder among the handlers', { 'rootfs/usr/lib/pi-adu/handlers.d/x/y': 'x' }, /belongs to the agent/],
  ['another setting of the system', { 'rootfs/etc/pi-adu/steps.json.d/x': 'x' }, /belongs to the system/],
  ['a unit of the agent', { 'rootfs/etc/systemd/system/pi-adu-agent.service': 'x' }, /belongs to the image/],
  [
    'a drop-in of the agent',
    { 'rootfs/etc/systemd/system/pi-adu-agent.service.d/x.conf': 'x' },
    /belongs to the agent/,
  ],
  [
    'a mask of the guard',
    { 'rootfs/usr/lib/systemd/system/pi-adu-trial-guard.timer': '->/dev/null' },
    /belongs to the agent/,
  ],
  // The build writes below it, and would follow the link on its own machine.
  ...['etc/adu', 'usr', 'usr/sbin', 'usr/local', 'etc/systemd/system', 'etc/ssh'].flatMap(
    (path): [string, Content, RegExp][] => [
      [`a link instead of the folder ${path}`, { [`rootfs/${path}`]: '->/tmp' }, /it is a folder in the image/],
      [`a file instead of the folder ${path}`, { [`rootfs/${path}`]: 'x' }, /it is a folder in the image/],
    ],
  ),
  ...['etc', 'usr/lib', 'usr/local/lib'].flatMap((home): [string, Content, RegExp][] => [
    [
      `a generator (${home})`,
      { [`rootfs/${home}/systemd/system-generators/x`]: '#!/bin/sh\n' },
      /a generator runs before/,
    ],
    [
      `users of systemd (${home})`,
      { [`rootfs/${home}/sysusers.d/app.conf`]: 'u app 2000\n' },
      /users belong to users\.txt/,
    ],
  ]),
  ...[
    'system/data.mount.d/x.conf',
    'system/mount.d/x.conf',
    'system.control/data.mount',
    'system.attached/data.mount',
  ].map((path): [string, Content, RegExp] => [
    path,
    { [`rootfs/etc/systemd/${path}`]: 'x' },
    /it belongs to the system/,
  ]),
  [
    'a drop-in of all units that the administrator has set',
    { 'rootfs/etc/systemd/system.control/service.d/x.conf': 'x' },
    /a drop-in for the agent's units/,
  ],
  [
    'a unit that the build masks afterwards',
    { 'rootfs/etc/systemd/system/getty@.service': '[Service]\n' },
    /the image masks this unit/,
  ],
  [
    'the target that the build sets afterwards',
    { 'rootfs/etc/systemd/system/default.target': '->/usr/lib/systemd/system/graphical.target' },
    /the image starts multi-user\.target/,
  ],
  ...['service.d', 'pi-.service.d', 'timer.d', 'pi-.timer.d', 'path.d', 'socket.d'].flatMap(folder =>
    ['etc', 'usr/lib', 'usr/local/lib'].map((home): [string, Content, RegExp] => [
      `a drop-in of all units (${home}, ${folder})`,
      { [`rootfs/${home}/systemd/system/${folder}/x.conf`]: '[Service]\n' },
      /a drop-in for the agent's units as well: name your own unit/,
    ]),
  ),
  ...['usr/bin', 'usr/sbin', 'usr/local/bin', 'usr/local/sbin'].flatMap(folder =>
    ['node', 'swupdate', 'perl', 'setpriv', 'fw_setenv', 'fw_printenv', 'openssl', 'systemd-run', 'flock', 'rm'].map(
      (name): [string, Content, RegExp] => [
        `a program that the agent runs (${folder}/${name})`,
        { [`rootfs/${folder}/${name}`]: '#!/bin/sh\n' },
        /the agent runs the program of this name/,
      ],
    ),
  ),
  ['the mount of the data partition', { 'rootfs/etc/systemd/system/data.mount': 'x' }, /belongs to the system/],
  [
    'a mask of the network',
    { 'rootfs/etc/systemd/system/systemd-networkd.service': '->/dev/null' },
    /belongs to the system/,
  ],
  ['the rules of the agent', { 'rootfs/etc/polkit-1/rules.d/50-pi-adu.rules': 'x' }, /belongs to the image/],
  ['the version', { 'rootfs/etc/adu-version': '9\n' }, /belongs to the system/],
  ['the certificate of bundles', { 'rootfs/etc/swupdate/certificate.pem': 'x' }, /belongs to the system/],
  ['users', { 'rootfs/etc/passwd': 'x' }, /users belong to users\.txt/],
  ['a private key', { 'rootfs/etc/app/tls.pem': KEY }, /looks like a secret \(a private key\).*secrets\.txt/],
  ['a private key in UTF-16', { 'rootfs/etc/app/tls.pem': Buffer.from(KEY, 'utf16le') }, /a private key/],
  [
    'a connection string',
    { 'rootfs/etc/app.json': '{"c":"HostName=h;DeviceId=d;SharedAccessKey=a2V5a2V5a2V5"}' },
    /a connection string/,
  ],
  ['a WLAN password', { 'rootfs/etc/wlan/my.psk': '[Security]\nPassphrase=x' }, /a WLAN password/],
  ['a WLAN password by another name', { 'rootfs/etc/wlan.conf': '[Security]\nPassphrase=x' }, /a WLAN password/],
  ['an SSH key', { 'rootfs/root/.ssh/id_ed25519': 'x' }, /an SSH key/],
  ['an SSH key of PuTTY', { 'rootfs/etc/app.ppk': 'x' }, /an SSH key/],
  ['an SSH key of PuTTY by another name', { 'rootfs/etc/key': 'PuTTY-User-Key-File-3: ssh-rsa\n' }, /an SSH key/],
  [
    'a private key in the form of SSH2',
    { 'rootfs/etc/key': '---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\n' },
    /a private key/,
  ],
  [
    'the password of an access point',
    { 'rootfs/etc/hostapd.conf': 'ssid=x\nwpa_passphrase=12345678\n' },
    /a WLAN password/,
  ],
  [
    'a key of WireGuard',
    { 'rootfs/etc/systemd/network/wg0.netdev': `[WireGuard]\nPrivateKey=${'A'.repeat(43)}=\n` },
    /a WireGuard key/,
  ],
  ['a secret as a health check', { 'health.d/x': `#!/bin/sh\n# ${KEY}` }, /a private key/],
  ['a health check that cannot run', { 'health.d/x': 'echo' }, /must be executable/],
  ['a folder of health checks', { 'health.d/x/y': '#!/bin/sh' }, /only files are taken/],
  ['an overlay that is none', { 'overlays/x.dtbo': 'xxxxxxxx' }, /not a device tree overlay/],
  ['an overlay of another name', { 'overlays/config.txt': OVERLAY }, /has a name like/],
  [
    'a list in UTF-16',
    { 'packages.txt': Buffer.from('less\n', 'utf16le') },
    /packages\.txt is not a text: it contains zeros/,
  ],
  ['a list that is no text', { 'units.txt': Buffer.from([0xff, 0xfe]) }, /units\.txt is not UTF-8/],
  ['a list of 2 MB', { 'data.txt': '#'.repeat(2e6) }, /data\.txt is larger than 1 MiB/],
  ['a list that is a folder', { 'modules.txt/x': 'x' }, /modules\.txt is not a regular file/],
]
for (const [what, content, why] of REFUSED) {
  test(`refused by name: ${what}`, () =>
    assert.rejects(readLayers([layer(content)]), new RegExp(`^Error: layer app is refused: .*${why.source}`)))
}

const ROWS: readonly [list: string, line: string, why: RegExp | undefined][] = [
  ['packages.txt', 'libfoo++-1.2-dev', undefined],
  ['packages.txt', 'less nano', /not the name of a Debian package/],
  ['packages.txt', 'libstdc++', undefined],
  // For apt this removes a package of the image.
  ['packages.txt', 'swupdate-', /not the name of a Debian package/],
  ['packages.txt', './my.deb', /not the name of a Debian package/],
  ['packages.txt', '--allow-unauthenticated', /not the name of a Debian package/],
  ['packages.txt', 'linux-image-arm64', /belong to the image/],
  ['packages.txt', 'u-boot-rpi', /belong to the image/],
  ['units.txt', 'app@one.timer', undefined],
  ['units.txt', '/etc/systemd/system/app.service', /not its path/],
  ['units.txt', '../app.service', /not its path/],
  ['units.txt', 'mask ssh.service', /not the name of a unit/],
  ['units.txt', 'app', /not the name of a unit/],
  ['units.txt', 'pi-adu-agent.service', /belong to the image/],
  ['users.txt', 'app 2001', undefined],
  ['users.txt', 'app 870', /from 2000 to 59999/],
  ['users.txt', 'app', /NAME NUMBER/],
  ['users.txt', 'app -', /NAME NUMBER/],
  ['users.txt', 'adu 2001', /belongs to the system/],
  ['users.txt', 'u app 2001', /NAME NUMBER/],
  ['users.txt', 'App:x 2001', /not the name of a user/],
  ['data.txt', '0755 root root app', undefined],
  ['data.txt', '0755 root root app\n0750 root root app/cache', undefined],
  ['data.txt', '0755 root root app/cache', /app\/cache: its parent app needs an earlier line/],
  ['data.txt', '0755 root root app/cache\n0755 root root app', /its parent app needs an earlier line/],
  ['data.txt', '0755 root root /app', /relative to the data partition/],
  ['data.txt', '0755 root root app/../adu', /not a path below/],
  ['data.txt', '0755 root root ..', /not a path below/],
  ['data.txt', '0755 root root adu/state', /belongs to the system/],
  ['data.txt', '0755 root root ssh', /belongs to the system/],
  ['data.txt', '0755 root root adu-flight', /belongs to the system/],
  ['data.txt', '0755 root root reset', /belongs to the system/],
  ['data.txt', '0755 root root machine-id', /belongs to the system/],
  ['data.txt', '0777 root root app', /lets everyone write/],
  ['data.txt', '4755 root root app', /the mode is like/],
  ['data.txt', '0755 app root app', /there is no user app/],
  ['data.txt', '0755 root app', /MODE OWNER GROUP FOLDER/],
  ['firmware.txt', 'firmware-realtek rtl_nic/rtl8153a-3.fw', undefined],
  ['firmware.txt', 'firmware-realtek', /PACKAGE FILE/],
  ['firmware.txt', 'firmware-realtek ../../../etc/passwd', /relative to usr\/lib\/firmware/],
  ['firmware.txt', 'bash bin/bash', /a name like firmware-brcm80211/],
  ['modules.txt', 'snd-bcm2835', undefined],
  ['modules.txt', '../evil.ko', /not the name of a kernel module/],
  ['boot.txt', 'dtoverlay=vc4-kms-v3d,noaudio', /no layer has overlays\/vc4-kms-v3d\.dtbo/],
  ['boot.txt', 'gpio=17=ip,pd', undefined],
  ['boot.txt', 'dtparam=i2c_arm=on', /dtparam=i2c_arm=on: no dtoverlay= comes before it/],
  ['boot.txt', '[pi4]', undefined],
  ['boot.txt', 'kernel=evil.bin', /may not set this/],
  ['boot.txt', 'include more.txt', /may not set this/],
  ['boot.txt', 'os_prefix=x/', /may not set this/],
  ['boot.txt', 'gpu_mem=32', undefined],
  ['boot.txt', 'gpu_mem=16', /gpu_mem must be more than 16/],
  ['boot.txt', 'gpu_mem_1024=16', /gpu_mem must be more than 16/],
  ['boot.txt', 'start_x=1', /may not set this/],
  ['boot.txt', 'device_tree=x.dtb', /may not set this/],
  ['boot.txt', `dtparam=${'x'.repeat(91)}`, /98 characters/],
  ['boot.txt', 'dtparam=ü', /ASCII/],
  ['boot.txt', '[tryboot]', /may not set this/],
  ['secrets.txt', 'du-config.json x/y 0400 root', /meaning of its own/],
  ['secrets.txt', 'dps.key x/y 0400 root', /meaning of its own/],
  ['secrets.txt', 'BOOT.ENV x/y 0400 root', /meaning of its own/],
  ['secrets.txt', 'config.txt x/y 0400 root', /meaning of its own/],
  ...['factory-reset', 'overlays', 'firstrun.sh', 'user-data', 'network-config', 'wpa_supplicant.conf', 'my.psk'].map(
    (name): [string, string, RegExp] => ['secrets.txt', `${name} x/y 0400 root`, /meaning of its own/],
  ),
  ['secrets.txt', 'du-config.json. x/y 0400 root', /not the name of a file/],
  ['secrets.txt', '../x x/y 0400 root', /not the name of a file/],
  ['secrets.txt', 'token adu/token 0400 root', /belongs to the system/],
  ['secrets.txt', 'token x/y 0444 root', /everyone can read/],
  ['secrets.txt', 'token x/y 0400 root', /there is no folder x in data\.txt/],
  ['secrets.txt', 'token y 0400 root', /a file in a folder/],
]
for (const [list, line, why] of ROWS) {
  test(`${list}: ${line.slice(0, 60)} is ${why ? 'refused' : 'accepted'}`, async () => {
    const reading = readLayers([layer({ [list]: `# comment\n\n${line}\n` })])
    if (!why) return void (await reading)
    await assert.rejects(reading, (error: Error) => {
      assert.match(error.message, /^layer app is refused: [^\n]*$/)
      assert.match(error.message, why)
      if (!/there is no|its parent|no layer has|comes before/.test(why.source))
        assert.ok(error.message.includes(`${list}:3: `), error.message)
      return true
    })
  })
}

const HEADS: readonly [object | string, RegExp][] = [
  ['', /layer\.json is empty/],
  ['{', /not valid JSON/],
  ['[]', /must be an object/],
  ['null', /must be an object/],
  ['{"name": "app", "version": "1.0.0", "name": "other"}', /line 1, column 37: this name is here for the second time/],
  [{ name: 'app' }, /version must be like/],
  [{ name: 'App', version: '1.0.0' }, /name must be lower case/],
  [{ name: '../x', version: '1.0.0' }, /name must be lower case/],
  [{ name: 'pi-adu-x', version: '1.0.0' }, /must not begin with pi-adu/],
  [{ name: 'app', version: '1.0' }, /version must be like/],
  [{ name: 'app', version: '1.0.0', run: 'x' }, /run is unknown/],
  [{ name: 'app', version: '1.0.0', replaces: 'x' }, /replaces must be a list/],
  [{ name: 'app', version: '1.0.0', replaces: ['etc/x'] }, /"etc\/x" replaces nothing/],
]
for (const [head, why] of HEADS) {
  test(`layer.json is refused: ${JSON.stringify(head)}`, async () => {
    await assert.rejects(readLayers([layer({}, head)]), why)
  })
}

test('a name that is not UTF-8 is refused, and a link to a layer leads to it', async () => {
  for (const folder of ['rootfs', 'health.d', 'overlays', 'sources']) {
    const dir = layer({ [`${folder}/x`]: '#!/bin/sh\n' })
    writeFileSync(Buffer.concat([Buffer.from(join(dir, folder, 'a')), Buffer.from([0xff])]), 'x')
    await assert.rejects(readLayers([dir]), /^Error: layer app is refused: .*a\ufffd: the name has characters/)
  }
  const link = join(home, 'link')
  symlinkSync(layer(), link)
  assert.equal((await readLayers([link])).list[0]?.name, 'app')
})

test('a folder that is missing, a setuid file, a FIFO and a sparse monster are refused', async () => {
  await assert.rejects(readLayers([join(home, 'missing')]), /--layer .*missing: there is no such folder/)
  const setuid = layer({ 'rootfs/usr/bin/app': '#!/bin/sh\n' })
  chmodSync(join(setuid, 'rootfs/usr/bin/app'), 0o4755)
  await assert.rejects(readLayers([setuid]), /rootfs\/usr\/bin\/app: setuid/)
  const fifo = layer({ 'rootfs/etc/a': 'x' })
  execFileSync('mkfifo', [join(fifo, 'rootfs/etc/pipe')])
  await assert.rejects(readLayers([fifo]), /rootfs\/etc\/pipe: it is neither a file nor a link nor a folder/)
  const monster = layer({ 'rootfs/usr/lib/app/big': 'x' })
  truncateSync(join(monster, 'rootfs/usr/lib/app/big'), 2 ** 40)
  await assert.rejects(readLayers([monster]), /rootfs\/usr\/lib\/app\/big: it is larger than 512 MiB/)
})

test('one fault is named once', async () => {
  const secret = layer({ 'data.txt': '0750 ghost ghost app\n' })
  await assert.rejects(
    readLayers([secret]),
    /^Error: layer app is refused: data\.txt: there is no user ghost in users\.txt$/,
  )
})

test('many faults are one line with the first of them', async () => {
  const content = Object.fromEntries(Array.from({ length: 9 }, (_, i) => [`script${i}.sh`, 'x']))
  await assert.rejects(readLayers([layer(content)]), /^Error: layer app is refused: [^\n]*; and 6 more$/)
})

test('layers that collide are refused, unless the later one says what it replaces', async () => {
  const first = layer({ 'rootfs/etc/app/a.conf': 'a', 'users.txt': 'app 2000\n', 'data.txt': '0755 app app app\n' })
  const other = (content: Content, head: object = {}): string =>
    layer(content, { name: 'site', version: '2.0.0', ...head })
  const together = (folder: string) => readLayers([first, folder])
  await assert.rejects(together(first), /there are two layers with this name|collides/)
  await assert.rejects(
    together(other({ 'rootfs/etc/app/a.conf': 'b' })),
    /etc\/app\/a\.conf is also in layer app: name it in "replaces"/,
  )
  await assert.rejects(together(other({ 'rootfs/etc/app': 'b' })), /etc\/app is a folder in another layer/)
  await assert.rejects(together(other({ 'rootfs/etc/app/a.conf/b': 'b' })), /etc\/app\/a\.conf is a file in layer app/)
  await assert.rejects(together(other({ 'users.txt': 'other 2000\n' })), /other 2000 collides with app 2000/)
  await assert.rejects(together(other({ 'data.txt': '0755 root root app\n' })), /app is also in layer app/)
  const replaced = await together(other({ 'rootfs/etc/app/a.conf': 'b' }, { replaces: ['etc/app/a.conf'] }))
  assert.deepEqual(
    replaced.files.map(({ from }) => from.startsWith(first)),
    [false],
  )
  const secrets = 'one site/token 0400 root\n'
  const place = other({ 'data.txt': '0755 root root site\n', 'secrets.txt': `${secrets}two site/token 0400 root\n` })
  await assert.rejects(together(place), /site\/token is also in layer site/)
  const folder = other({ 'data.txt': '0755 root root site\n0755 root root site/token\n', 'secrets.txt': secrets })
  await assert.rejects(together(folder), /site\/token is also in layer site/)
  // A layer may use the users of an earlier one.
  const users = await together(other({ 'data.txt': '0700 app app site\n' }))
  assert.deepEqual(users.data, ['0755 2000 2000 app', '0700 2000 2000 site'])
})

/** What build-image says of layers that it refuses, which it does before it builds anything. */
function refusal(flags: readonly string[], code = 1): string {
  const output = join(home, 'output')
  const program = join(import.meta.dirname, '../../image/builder/main.js')
  const { status, stderr } = spawnSync(process.execPath, [program, ...flags, '--output', output], { encoding: 'utf8' })
  assert.equal(status, code)
  assert.throws(() => cpSync(output, join(home, 'copy')), /ENOENT/)
  return stderr
}

test('build-image refuses a layer before it builds anything', () => {
  const dir = layer({ 'rootfs/etc/fstab': 'x' })
  assert.equal(
    refusal(['--layer', dir]),
    'build-image: layer app is refused: rootfs/etc/fstab: it belongs to the image\n',
  )
})

test('a version or board that is none is refused with all that is possible', () => {
  for (const name of ['version', 'board']) {
    const why = `build-image: --${name} a b: only letters, digits and . _ + ~ - are possible, up to 64; see --help\n`
    assert.equal(refusal([`--${name}`, 'a b'], 64), why)
  }
  assert.match(refusal(['--layer', join(home, 'a. b')], 64), /a\. b: there is no such folder; see --help\n$/)
  assert.equal(refusal(['--bogus'], 64), "build-image: Unknown option '--bogus'; see --help\n")
})

test('the layer for WLAN is in every image, unless --no-wlan leaves it out', () => {
  const site = layer({ 'rootfs/usr/lib/wlan/trouble': '#!/bin/sh\n' })
  assert.match(refusal(['--layer', WLAN_LAYER]), /layer wlan is refused: there are two layers with this name/)
  assert.match(refusal(['--layer', site]), /usr\/lib\/wlan\/trouble is also in layer wlan/)
  const wrong = layer({ 'rootfs/etc/fstab': 'x' }, { name: 'wrong', version: '1.0.0' })
  assert.match(
    refusal(['--no-wlan', '--layer', WLAN_LAYER, '--layer', wrong]),
    /layer wrong is refused: rootfs\/etc\/fstab/,
  )
  assert.match(refusal(['--no-wlan', '--layer', site, '--layer', site]), /two layers with this name/)
})

test('a link of firmware.txt needs the file that it leads to', async () => {
  const dir = layer({
    'usr/lib/firmware/brcm/a.bin': '->../cypress/a.bin',
    'usr/lib/firmware/brcm/b.bin': '->b-2.bin',
    'usr/lib/firmware/brcm/b-2.bin': 'x',
    'usr/lib/firmware/brcm/to-a.bin': '->a.bin',
  })
  const rows = ['to-a', 'a', 'b', 'b-2'].map(name => `firmware-x brcm/${name}.bin`)
  assert.deepEqual(await firmwareThatLeadsNowhere(dir, rows), [
    'brcm/a.bin is a link to cypress/a.bin, which needs a line too: firmware-x cypress/a.bin',
  ])
})
