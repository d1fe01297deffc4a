import { readFile } from 'node:fs/promises'

/** Seconds since 1970, as a cell: 32 bits, big-endian (Raspberry Pi documentation, "Device tree: bootloader properties"). */
const BUILD_TIMESTAMP = '/proc/device-tree/chosen/bootloader/build-timestamp'

/**
 * When the bootloader in the EEPROM was built, in milliseconds; undefined on boards that have none or do not say. Never
 * rejects.
 */
export async function bootloaderBuilt(file = BUILD_TIMESTAMP): Promise<number | undefined> {
  const content = await readFile(file).catch(() => undefined)
  const seconds = content?.length === 4 ? content.readUInt32BE() : 0
  return seconds === 0 ? undefined : seconds * 1000
}
