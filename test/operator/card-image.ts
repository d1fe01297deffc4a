import { execFileSync } from 'node:child_process'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { closeSync, mkdirSync, openSync, rmSync, truncateSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'

const MIB = 2 ** 20
const SECTORS = 2048

/** With mke2fs(8) and others, which are not in an ordinary user's PATH. */
const run = (file: string, ...args: string[]): Buffer =>
  execFileSync(file, args, { stdio: 'pipe', env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` } })

/** A partition table with these types; each partition begins where the one before ends. Sizes in MiB. */
export function tableOf(parts: readonly (readonly [type: number, mib: number])[]): Buffer {
  const table = Buffer.alloc(512)
  let start = 1
  for (const [index, [type, mib]] of parts.entries()) {
    table.writeUInt8(type, 446 + index * 16 + 4)
    table.writeUInt32LE(start * SECTORS, 446 + index * 16 + 8)
    table.writeUInt32LE(mib * SECTORS, 446 + index * 16 + 12)
    start += mib
  }
  table.writeUInt16LE(0xaa55, 510)
  return table
}

/**
 * A small image like ours: 1 MiB, boot of `bootMib` with an overlay Board.dtbo, slots of 2 and 4 MiB, data of 1 MiB. Its layers
 * take `secrets` from each card.
 */
export function makeImage(dir: string, { secrets = [] as readonly string[], bootMib = 4 } = {}): string {
  const image = join(dir, 'base.img')
  writeFileSync(image, tableOf([[0x0c, bootMib], [0x83, 2], [0x83, 4], [0x83, 1]])) // biome-ignore format: a table
  truncateSync(image, (1 + bootMib + 2 + 4 + 1) * MIB)
  const boot = `${image}@@${MIB}`
  run('mformat', '-i', boot, '-T', String(bootMib * SECTORS), '-h', '2', '-s', '32', '-v', 'BOOT', '::')
  const config = join(dir, 'usercfg.txt')
  writeFileSync(config, '# yours\n')
  run('mcopy', '-i', boot, config, '::')
  run('mattrib', '-i', boot, '+r', '::usercfg.txt')
  run('mmd', '-i', boot, '::overlays')
  run('mcopy', '-i', boot, config, '::overlays/Board.dtbo')
  const tree = join(dir, 'tree')
  mkdirSync(join(tree, 'usr/lib/pi-adu'), { recursive: true })
  const lines = secrets.map(name => `${name} app/${name} 0400 0:0\n`).join('')
  if (lines) writeFileSync(join(tree, 'usr/lib/pi-adu/secrets.txt'), lines)
  const slot = join(dir, 'slot.ext4')
  run('mke2fs', '-q', '-t', 'ext4', '-d', tree, slot, '2048')
  run('dd', `if=${slot}`, `of=${image}`, 'bs=1M', `seek=${1 + bootMib}`, 'conv=notrunc')
  // A data partition that is not empty.
  const file = openSync(image, 'r+')
  writeSync(file, randomBytes(4096), 0, 4096, (1 + bootMib + 6) * MIB)
  closeSync(file)
  for (const path of [config, slot, tree]) rmSync(path, { recursive: true })
  return image
}

/** A file of the boot partition. */
export const onBoot = (image: string, name: string): Buffer => run('mtype', '-i', `${image}@@${MIB}`, `::${name}`)

export const configOf = (id: string, more: object = {}): string =>
  JSON.stringify({
    ...{ schemaVersion: '1.1', manufacturer: 'contoso', model: 'pi4' },
    agents: [{ name: 'main', manufacturer: 'contoso', model: 'pi4' }],
    piAdu: {
      provisioning: { idScope: '0ne00A1B2C3', registrationId: id, symmetricKeyFile: '/data/adu/dps.key' },
      ...more,
    },
  })

/** Writes folders of devices: name → file → content; a device without files gets those that enrol writes. */
export function makeDevices(dir: string, devices: Readonly<Record<string, Readonly<Record<string, string | Buffer>>>>) {
  for (const [name, files] of Object.entries(devices)) {
    const all = { 'du-config.json': configOf(name), 'dps.key': `${randomBytes(32).toString('base64')}\n`, ...files }
    for (const [path, content] of Object.entries(all)) {
      mkdirSync(join(dir, name, path, '..'), { recursive: true })
      if (content !== '-') writeFileSync(join(dir, name, path), content)
    }
  }
}

export const privateKey = (): string =>
  generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
