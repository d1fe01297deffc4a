import { cp, mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { cached } from '../../image/builder/cache.ts'
import { linesOf } from '../../image/builder/data.ts'
import { privateApt } from '../../image/builder/debian.ts'
import { run } from '../../image/builder/run.ts'

/** The network card of the access point, towards the LAN. */
const MAC = '52:54:00:00:0a:b0'

/**
 * For a `Guest`: the wire and the access point are in one LAN, whose router is QEMU, as in most homes. `set_link net off` pulls the
 * cable of the wire.
 */
export const LAN = {
  wire: 'hubport,hubid=0',
  more: [
    ...['-netdev', 'user,id=router', '-netdev', 'hubport,id=to-router,hubid=0,netdev=router'],
    ...['-netdev', 'hubport,id=air,hubid=0', '-device', `virtio-net-pci,netdev=air,romfile=,mac=${MAC}`],
  ],
}

const PACKAGES = ['hostapd', 'iw', 'libnl-3-200', 'libnl-genl-3-200', 'libnl-route-3-200']

/** The image has no access point: hostapd and what moves a radio, from the image's Debian. */
const programs = (): Promise<string> =>
  cached('access-point', [PACKAGES, linesOf('suites.txt')], async dir => {
    const apt = await privateApt(join(dir, '.apt'))
    await apt('apt-get', 'download', ...PACKAGES)
    for (const deb of await readdir(join(dir, '.apt/debs')))
      await run(['dpkg-deb', '-x', join(dir, '.apt/debs', deb), join(dir, 'tree')])
    await run(['rm', '-rf', join(dir, '.apt')])
  })

/** Two simulated radios: the first is the device's, the second goes into a network namespace, where the device's programs do not see it. */
const SETUP = `#!/bin/sh
set -eu
modprobe bridge
modprobe mac80211_hwsim radios=2
card=
while [ -z "$card" ]; do
  udevadm settle
  card=$(ip -o link | sed -n 's/^[0-9]*: \\([^:@]*\\).* ${MAC} .*/\\1/p')
done
ip netns add air
/usr/lib/air/iw phy "$(cat /sys/class/net/wlan1/phy80211/name)" set netns name air
ip link set "$card" netns air
ip -n air link add bridge type bridge forward_delay 0
ip -n air link set bridge up
ip -n air link set "$card" master bridge up
`

/** It is there at each boot, also in a trial, before the device looks for it. */
const SETUP_UNIT = `[Unit]
Description=Radios and the LAN of the access point
After=systemd-udev-trigger.service
Before=iwd.service

[Service]
Type=oneshot
RemainAfterExit=yes
Environment=LD_LIBRARY_PATH=/usr/lib/air
ExecStart=/usr/lib/air/setup

[Install]
WantedBy=multi-user.target
`

/** The second one is off, and starts instead of the first. */
const hostapdUnit = (name: string, other: string): string => `[Unit]
Description=Access point
Requires=air-radio.service
After=air-radio.service
Conflicts=${other}.service
After=${other}.service

[Service]
Environment=LD_LIBRARY_PATH=/usr/lib/air
ExecStart=ip netns exec air /usr/lib/air/hostapd /usr/lib/air/${name}.conf
Restart=always
RestartSec=1

[Install]
WantedBy=multi-user.target
`

/** The network of `air-hidden.service`, with the same password. */
export const HIDDEN = 'Hidden Net'

const hostapdConf = (ssid: string, bssid: string, security: readonly string[]): string =>
  `${[
    ...[
      'interface=wlan1',
      'bridge=bridge',
      'driver=nl80211',
      `bssid=${bssid}`,
      `ssid=${ssid}`,
      'hw_mode=g',
      'channel=1',
    ],
    ...['wpa=2', 'rsn_pairwise=CCMP', ...security],
  ].join('\n')}\n`

/** A layer for an access point in the same machine as the device, at each boot. Needs `LAN`. Returns its folder. */
export async function accessPointLayer(folder: string, ssid: string, password: string): Promise<string> {
  const tree = join(await programs(), 'tree')
  const air = join(folder, 'rootfs/usr/lib/air')
  const units = join(folder, 'rootfs/usr/lib/systemd/system')
  const networks = join(folder, 'rootfs/etc/systemd/network')
  for (const each of [air, units, networks]) await mkdir(each, { recursive: true })
  for (const name of ['hostapd', 'iw']) await cp(join(tree, 'usr/sbin', name), join(air, name))
  const libraries = join(tree, 'usr/lib/aarch64-linux-gnu')
  for (const name of (await readdir(libraries)).filter(each => /^libnl-.*\.so\.200$/.test(each)))
    await cp(join(libraries, name), join(air, name), { dereference: true })
  const files: readonly [path: string, content: string][] = [
    [join(folder, 'layer.json'), '{"name": "air", "version": "1.0.0"}\n'],
    [join(folder, 'modules.txt'), 'bridge\nmac80211_hwsim\n'],
    [join(folder, 'units.txt'), 'air-radio.service\nair.service\n'],
    [join(air, 'setup'), SETUP],
    [
      join(air, 'air.conf'),
      hostapdConf(ssid, '02:00:00:00:0a:b1', ['wpa_key_mgmt=WPA-PSK', `wpa_passphrase=${password}`]),
    ],
    [
      join(air, 'air-hidden.conf'),
      hostapdConf(HIDDEN, '02:00:00:00:0a:b2', [
        ...['ignore_broadcast_ssid=1', 'wpa_key_mgmt=SAE', 'ieee80211w=2', `sae_password=${password}`],
      ]),
    ],
    [join(units, 'air-radio.service'), SETUP_UNIT],
    [join(units, 'air.service'), hostapdUnit('air', 'air-hidden')],
    [join(units, 'air-hidden.service'), hostapdUnit('air-hidden', 'air')],
    // It is not the device's.
    [join(networks, '10-air.network'), `[Match]\nMACAddress=${MAC}\n[Link]\nUnmanaged=yes\n`],
  ]
  for (const [path, content] of files)
    await writeFile(path, content, { mode: content.startsWith('#!') ? 0o755 : 0o644 })
  return folder
}
