import { stat } from 'node:fs/promises'
import { basename } from 'node:path'
import { pathToFileURL } from 'node:url'
import { sha256 } from './cache.ts'

export interface ImagerEntry {
  readonly version: string
  /** The compressed image, and where it will be fetched from; without `url` it is opened where it lies. */
  readonly image: string
  readonly url?: string | undefined
  /** Seconds. */
  readonly epoch: number
  /** Bytes and SHA-256 in hexadecimal, as they lie on the card and as they are fetched. */
  readonly extracted: Measure
  readonly compressed: Measure
}

interface Measure {
  readonly size: number
  readonly sha256: string
}

export async function measure(file: string): Promise<Measure> {
  return { size: (await stat(file)).size, sha256: await sha256(file) }
}

/** Boards in Raspberry Pi Imager's words. It shows no entry for a board that is not in the repository's own list. */
const DEVICES = [
  { name: 'Raspberry Pi 3, Zero 2 W', description: 'Models 3B, 3B+, 3A+ and Zero 2 W', tag: 'pi3-64bit' },
  { name: 'Raspberry Pi 4', description: 'Models 4B and CM4', tag: 'pi4-64bit' },
]

/**
 * A repository for Raspberry Pi Imager with this image (rpi-imager, doc/json-schema/os-list-schema.json). `init_format` says which file
 * of Imager's customisation the image reads (image/README.md, "Network and first start"). Pure.
 */
export function imagerManifest({ version, image, url, epoch, extracted, compressed }: ImagerEntry): string {
  const entry = {
    name: `pi-adu ${version}`,
    description: 'A/B system with the update agent pi-adu, Debian 13, 64 bit',
    icon: 'icons/use_custom.png',
    url: url === undefined ? pathToFileURL(image).href : `${url.replace(/\/+$/, '')}/${basename(image)}`,
    extract_size: extracted.size,
    extract_sha256: extracted.sha256,
    image_download_size: compressed.size,
    image_download_sha256: compressed.sha256,
    release_date: new Date(epoch * 1000).toISOString().slice(0, 10),
    devices: DEVICES.map(({ tag }) => tag),
    init_format: 'rpi-preseed',
    architecture: 'armv8',
  }
  const devices = DEVICES.map(({ tag, ...words }) => ({ ...words, tags: [tag], matching_type: 'exclusive' }))
  return `${JSON.stringify({ imager: { devices }, os_list: [entry] }, null, 2)}\n`
}
