import { type FileHandle, open, readFile } from 'node:fs/promises'
import { crc32 } from 'node:zlib'

/** The bootloader env is one disk sector, so that writing it in place is all or nothing. */
export const BOOT_ENV_BYTES = 512

export type SlotName = 'a' | 'b'

/** What the bootloader and the agent tell each other. */
export interface BootEnv {
  /** Started next. */
  readonly primary: SlotName
  readonly trial: 'none' | 'pending' | 'failed'
  /** Trial boots left. */
  readonly tries: number
}

/** U-Boot's plain format: CRC32 of the rest, then `name=value` ended by NUL, an empty one last, filled with NUL. */
export function encodeBootEnv(env: BootEnv): Buffer {
  const sector = Buffer.alloc(BOOT_ENV_BYTES)
  sector.write(`primary=${env.primary}\0trial=${env.trial}\0tries=${env.tries}\0\0`, 4, 'latin1')
  sector.writeUInt32LE(crc32(sector.subarray(4)), 0)
  return sector
}

/** The variables of a sector; undefined when its checksum is wrong. */
export function decodeVariables(sector: Buffer): Record<string, string> | undefined {
  if (sector.length !== BOOT_ENV_BYTES || crc32(sector.subarray(4)) !== sector.readUInt32LE(0)) return undefined
  const text = sector.toString('latin1', 4)
  const entries = text.slice(0, text.indexOf('\0\0')).split('\0')
  return Object.fromEntries(entries.map(entry => [entry.split('=', 1)[0]!, entry.slice(entry.indexOf('=') + 1)]))
}

/** The env in a sector; undefined when the bootloader cannot act on it. */
export function decodeBootEnv(sector: Buffer): BootEnv | undefined {
  const { primary, trial = 'none', tries = '0' } = decodeVariables(sector) ?? {}
  if (primary !== 'a' && primary !== 'b') return undefined
  return {
    primary,
    trial: trial === 'pending' || trial === 'failed' ? trial : 'none',
    // A count that is none leaves no tries: the trial ends, it does not go on for ever.
    tries: /^\d$/.test(tries) ? Number(tries) : 0,
  }
}

/** The env of a file; undefined when it is missing or torn. */
export async function readBootEnv(path: string): Promise<BootEnv | undefined> {
  const sector = await readFile(path).catch(() => undefined)
  return sector && decodeBootEnv(sector)
}

/** Overwrites the file in place with one write, and returns when it is on the disk. */
export async function writeBootEnv(path: string, env: BootEnv): Promise<void> {
  const file = await openInPlace(path)
  try {
    await file.write(encodeBootEnv(env), 0, BOOT_ENV_BYTES, 0)
    await file.sync()
  } finally {
    await file.close()
  }
}

async function openInPlace(path: string): Promise<FileHandle> {
  return open(path, 'r+').catch(() => open(path, 'w'))
}
