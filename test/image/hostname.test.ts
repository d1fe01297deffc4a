import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { repositoryRoot } from '../../image/builder/repository.ts'

const PROGRAM = join(repositoryRoot(), 'image/rootfs/usr/lib/pi-adu/hostname')
const home = mkdtempSync(join(tmpdir(), 'hostname-'))
after(() => rmSync(home, { recursive: true, force: true }))

interface Device {
  readonly data?: string | Buffer
  readonly boot?: string | Buffer
  readonly serial?: string
  readonly machineId?: string
}

let devices = 0
/** The host name of a device with these files; undefined when none was set. */
function hostName({ data, boot, serial, machineId }: Device): string | undefined {
  const dir = join(home, String(++devices))
  mkdirSync(join(dir, 'data/adu'), { recursive: true })
  mkdirSync(join(dir, 'boot'))
  const put = (name: string, content: string | Buffer | undefined): void => {
    if (content !== undefined) writeFileSync(join(dir, name), content)
  }
  put('data/adu/du-config.json', data)
  put('boot/du-config.json', boot)
  put('serial', serial)
  put('machine-id', machineId)
  const names = ['data', 'boot', 'serial', 'machine-id', 'name'].map(name => join(dir, name))
  execFileSync('sh', [PROGRAM, ...names])
  return existsSync(names[4]!) ? readFileSync(names[4]!, 'utf8').trimEnd() : undefined
}

const config = (id: string): string =>
  JSON.stringify({ connectionData: `HostName=my-hub.azure-devices.net;DeviceId=${id};SharedAccessKey=a2V5` }, null, 2)
const registered = (id: string): string => JSON.stringify({ registrationId: id })
const SERIAL = '10000000c0ffee42\0'
const MACHINE_ID = '0123456789abcdef0123456789abcdef\n'

const ROWS: readonly [what: string, device: Device, name: string | undefined][] = [
  ['the id of the device in the hub', { data: config('pi1'), serial: SERIAL }, 'pi1'],
  ['of the configuration that still is on the boot partition', { boot: config('pi2'), serial: SERIAL }, 'pi2'],
  ['of the configuration in use before a newer one', { data: config('pi1'), boot: config('pi2') }, 'pi1'],
  ['in UTF-16', { data: Buffer.from(`\ufeff${config('pi3')}`, 'utf16le') }, 'pi3'],
  ['of a registration', { data: '{"registrationId" : "Line7.Cell-3"}' }, 'line7-cell-3'],
  [
    'of a registration with the serial number',
    { data: registered('pi-{serial}'), serial: SERIAL },
    'pi-10000000c0ffee42',
  ],
  [
    'of a registration with a serial number that is not there',
    { data: registered('pi-{serial}'), machineId: MACHINE_ID },
    'pi-89abcdef',
  ],
  ['of a registration with an address', { data: registered('pi-{mac:eth0}'), serial: SERIAL }, 'pi-c0ffee42'],
  ['with what host names do not have', { data: config('Pi_Büro:4.West#') }, 'pi-b-ro-4-west'],
  ['with more than 63 characters', { data: config('a'.repeat(128)) }, 'a'.repeat(63)],
  ['a hyphen is not the end', { data: config(`${'a'.repeat(62)}.b`) }, 'a'.repeat(62)],
  ['of digits alone', { data: config('4711') }, 'pi-4711'],
  ['of nothing that a host name has', { data: config('###'), serial: SERIAL }, 'pi-c0ffee42'],
  ['a configuration without an id', { data: '{"agents": []}', serial: SERIAL }, 'pi-c0ffee42'],
  ['a configuration that is no text', { data: Buffer.alloc(2 ** 20, 0xfe), serial: SERIAL }, 'pi-c0ffee42'],
  ['no configuration', { serial: SERIAL, machineId: MACHINE_ID }, 'pi-c0ffee42'],
  ['no serial number', { machineId: MACHINE_ID }, 'pi-89abcdef'],
  ['a serial number that is empty', { serial: '\0', machineId: MACHINE_ID }, 'pi-89abcdef'],
  ['a command in an id', { data: config('$(reboot);x') }, 'reboot'],
  ['nothing at all', {}, undefined],
]

for (const [what, device, name] of ROWS) {
  test(`host name: ${what}`, () => assert.equal(hostName(device), name))
}
