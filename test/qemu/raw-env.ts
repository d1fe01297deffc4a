import { crc32 } from 'node:zlib'
import { BOOT_ENV_BYTES } from '../bench/workbench/boot-env.ts'

/** Any variables in U-Boot's format, also such as our agent never writes. */
export function rawEnv(variables: Readonly<Record<string, string>>): Buffer {
  const sector = Buffer.alloc(BOOT_ENV_BYTES)
  const text = Object.entries(variables).map(([name, value]) => `${name}=${value}\0`)
  sector.write(text.join(''), 4, 'latin1')
  sector.writeUInt32LE(crc32(sector.subarray(4)), 0)
  return sector
}
